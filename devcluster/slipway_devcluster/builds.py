"""Builds of the programs in `programs.py`: made once per version and flags, and kept in the cache.

A finished build is one folder of the cache: `bin/` (programs), `source/` (manifests and charts of the module, where
they are needed), `cost.json` (what the build took) and `manifest.json` (a checksum of every file). A folder with its
final name is complete: it is made under another name and renamed. An interrupted build resumes, because Go's own caches
are in the cache as well.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from slipway_devcluster.entries import find_damage, unfinished, write_manifest
from slipway_devcluster.errors import Refusal, StepFailed
from slipway_devcluster.go_toolchain import Go, ensure_go, find_go
from slipway_devcluster.locks import locked
from slipway_devcluster.paths import Cache
from slipway_devcluster.programs import UPSTREAMS, Upstream, upstream_named
from slipway_devcluster.progress import Step, Steps

DISCARDED = "go-discarded-"
COMPILER_FLAGS = "-gcflags=all=-dwarf=false"
"""The linker drops debug information (`-s -w`); not to generate it either saves about a tenth of the CPU time."""


@dataclass(frozen=True)
class Cost:
    """What a build took. CPU time depends little on what else the machine does meanwhile; elapsed time does."""

    elapsed_seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Build:
    """A build in the cache, or the one that would be made."""

    upstream: Upstream
    folder: Path

    @property
    def version(self) -> str:
        return self.upstream.version

    @property
    def is_finished(self) -> bool:
        return self.folder.exists()

    @property
    def source(self) -> Path:
        """The folders of the module's source that were kept, under their own paths."""
        return self.folder / "source"

    def binary(self, name: str) -> Path:
        if name not in self.upstream.binaries:
            raise KeyError(f"{self.upstream.name} has no program {name}, only {', '.join(self.upstream.binaries)}")
        return self.folder / "bin" / name

    @property
    def cost(self) -> Cost | None:
        """None if the build is not finished, or its record can't be read."""
        try:
            return Cost(**json.loads(_cost_file(self.folder).read_text()))
        except (OSError, ValueError, TypeError):
            return None

    @property
    def size(self) -> int:
        """Bytes of the programs."""
        return sum(program.stat().st_size for program in (self.folder / "bin").glob("*"))


# --- finding and making builds ---------------------------------------------------------------------------------------


def ensure_built(name: str, cache: Cache, steps: Steps) -> Build:
    """Return the finished build of an upstream; make it first if it is missing or damaged."""
    upstream = upstream_named(name)
    go = ensure_go(cache, steps)
    build = expected_build(upstream, go, cache)
    with locked(_lock(name, cache), say=steps.say):
        if build.is_finished and (damage := find_damage(build.folder)):
            steps.say(f"the cached build of {name} is broken ({damage}), so it is built again")
            shutil.rmtree(build.folder)
        if not build.is_finished:
            _make(build, go, cache, steps)
    return build


def ensure_on_demand(name: str, cache: Cache, steps: Steps) -> Build:
    """Like `ensure_built`, for a program that not every cluster needs; Go's caches are removed after a build."""
    absent = missing([name], cache)
    build = ensure_built(name, cache, steps)
    if absent:
        discard_go_caches(cache)
    return build


def ensure_all(names: Iterable[str], cache: Cache, steps: Steps) -> dict[str, Build]:
    """The finished builds by name, made one after another: a single Go build keeps every core busy."""
    return {name: ensure_built(name, cache, steps) for name in names}


def missing(names: Iterable[str], cache: Cache) -> list[str]:
    """Return those of the upstreams that would have to be built; nothing is downloaded or changed to find out."""
    return [name for name, build in expected_builds(names, cache).items() if not (build and build.is_finished)]


def expected_builds(names: Iterable[str], cache: Cache) -> dict[str, Build | None]:
    """The builds that this checkout uses; None without a Go toolchain, whose version is a part of a build's key."""
    go = find_go(cache)
    return {name: expected_build(upstream_named(name), go, cache) if go else None for name in names}


def expected_build(upstream: Upstream, go: Go, cache: Cache) -> Build:
    key = build_key(upstream, go)[:12]
    return Build(upstream, cache.builds / f"{upstream.name}-{upstream.version}-{key}")


def build_key(upstream: Upstream, go: Go) -> str:
    """A hash of everything that the build depends on."""
    files = sorted(path for path in upstream.go_folder.iterdir() if path.suffix in {".mod", ".sum", ".go"})
    parts = [COMPILER_FLAGS, upstream.ldflags, go.version, go.arch, *upstream.kept, *upstream.binaries]
    parts += [f"{path.name}:{hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def discard_go_caches(cache: Cache) -> threading.Thread:
    """Remove Go's module and build caches; finished builds do not need them.

    They are 10 GB in 250,000 files, which took minutes on a busy disk. So they get another name first, and the program
    goes on meanwhile; it ends when they are gone. What a killed program has left of them is removed, too.
    """
    with contextlib.ExitStack() as builders:
        for name in UPSTREAMS:
            builders.enter_context(locked(_lock(name, cache)))
        with contextlib.suppress(FileNotFoundError):
            cache.go.rename(cache.root / f"{DISCARDED}{os.getpid()}-{time.monotonic_ns()}")
    removal = threading.Thread(target=_remove_discarded, args=[cache], name="go-caches")
    removal.start()
    return removal


def _remove_discarded(cache: Cache) -> None:
    for folder in cache.root.glob(f"{DISCARDED}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _lock(name: str, cache: Cache) -> Path:
    return cache.locks / f"build-{name}"


# --- building --------------------------------------------------------------------------------------------------------


def step_name(upstream: Upstream) -> str:
    """The step under which a build is shown, and under which its duration is remembered."""
    return f"building {upstream.name} {upstream.version}"


def _make(build: Build, go: Go, cache: Cache, steps: Steps) -> None:
    upstream, started = build.upstream, time.monotonic()
    with steps.step(step_name(upstream)) as step, unfinished(build.folder) as folder:
        programs, scratch = folder / "bin", folder / "scratch"
        for each in (programs, scratch):
            each.mkdir()
        environment = go.environment(cache, scratch)
        try:
            step.run(_command(upstream, go, programs), env=environment, cwd=upstream.go_folder)
        except StepFailed as failure:
            raise explained(failure, upstream) from failure
        name_programs(programs, upstream.binaries)
        for kept in upstream.kept:
            keep_source(_module_folder(upstream, go, environment, step) / kept, folder / "source" / kept)
        shutil.rmtree(scratch)
        cost = Cost(round(time.monotonic() - started, 1), round(step.cpu_seconds, 1))
        _cost_file(folder).write_text(json.dumps(asdict(cost)))
        write_manifest(folder)


def _command(upstream: Upstream, go: Go, programs: Path) -> list[str | Path]:
    """One call for all programs of an upstream, so that each package is compiled once.

    Packages that several upstreams share are compiled once, too, because all are built with the same flags.
    """
    flags = ["-trimpath", COMPILER_FLAGS, f"-ldflags={upstream.ldflags}"]
    return [go.program, "build", *flags, "-o", f"{programs}/", upstream.target]


def _cost_file(folder: Path) -> Path:
    return folder / "cost.json"


# What Go prints about a version that was never released, or that is not in go.sum.
UNKNOWN_VERSION = re.compile(
    r"unknown revision|version \S+ invalid|404 Not Found|missing go\.sum entry|updates to go\.mod needed"
)


def explained(failure: StepFailed, upstream: Upstream) -> Refusal:
    if not UNKNOWN_VERSION.search(str(failure)):
        return failure
    go_mod = upstream.go_folder / "go.mod"
    return Refusal(
        f"{upstream.module} {upstream.version} is no version that can be built here; name a released one in {go_mod} "
        f"and run `go mod tidy` there ({failure})"
    )


def name_programs(folder: Path, binaries: tuple[str, ...]) -> None:
    """Rename the only program of a build: Go names it after its package, which is `server` for etcd."""
    made = sorted(path.name for path in folder.iterdir())
    if len(made) == len(binaries) == 1:
        (folder / made[0]).rename(folder / binaries[0])
    elif made != sorted(binaries):
        raise Refusal(f"the build made {', '.join(made)} instead of {', '.join(binaries)}; restore its go.mod.")


def _module_folder(upstream: Upstream, go: Go, environment: Mapping[str, str], step: Step) -> Path:
    listed = subprocess.run(
        [go.program, "list", "-m", "-f", "{{.Dir}}", upstream.module],
        env={**os.environ, **environment},
        cwd=upstream.go_folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        raise StepFailed(
            f"{step.name} failed: Go does not find the source of {upstream.module}: {listed.stderr.strip()}"
        )
    return Path(listed.stdout.strip())


def keep_source(origin: Path, copy: Path) -> None:
    """Copy a file of a module, or a folder without its Go code and its tests."""
    if origin.is_file():
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(origin, copy)
        return
    shutil.copytree(origin, copy, ignore=shutil.ignore_patterns("*.go", "testdata"), copy_function=shutil.copyfile)
