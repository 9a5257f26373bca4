"""A Redis server for programs that need one: the machine's own, or Debian's package, unpacked into the cache."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from slipway_devcluster.cluster import DIES_WITH_US
from slipway_devcluster.entries import unfinished
from slipway_devcluster.errors import StepFailed
from slipway_devcluster.locks import locked
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Steps

from support.ports import free_port
from support.programs.processes import ended, until

PACKAGE = "redis-server"


@dataclass(frozen=True)
class Redis:
    program: Path
    environment: dict[str, str] = field(default_factory=dict)


def ensure_redis(cache: Cache, steps: Steps) -> Redis:
    if found := shutil.which(PACKAGE):
        return Redis(Path(found))
    folder = cache.root / PACKAGE
    with locked(cache.locks / PACKAGE, say=steps.say):
        if not folder.exists():
            _unpack(folder, steps)
    libraries = ":".join(map(str, sorted({path.parent for path in folder.rglob("*.so*")})))
    return Redis(folder / "usr/bin/redis-server", {"LD_LIBRARY_PATH": libraries})


def _unpack(final: Path, steps: Steps) -> None:
    """Unpacks the package, and its dependencies that the machine doesn't have."""
    with steps.step(f"fetching Debian's {PACKAGE}") as step, unfinished(final) as folder:
        packages = folder / "packages"
        (packages / "partial").mkdir(parents=True)
        options = ["-o", f"Dir::Cache::archives={packages}", "-o", "Debug::NoLocking=1"]
        fetch = ["apt-get", "install", "--yes", "--no-install-recommends", "--download-only", *options, PACKAGE]
        try:
            step.run(fetch)
        except StepFailed:  # the package lists are old or missing
            step.run(["apt-get", "update"])
            step.run(fetch)
        for package in sorted(packages.glob("*.deb")):
            step.run(["dpkg", "--extract", package, folder])
        shutil.rmtree(packages)


@contextmanager
def running(redis: Redis, folder: Path) -> Iterator[str]:
    """Runs Redis on a port of this machine, without persistence; yields the address."""
    port = free_port()
    words = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder)]
    with (folder / "redis.log").open("wb") as log:
        command: list[str | Path] = [*DIES_WITH_US, redis.program, *words]
        process = subprocess.Popen(command, env={**os.environ, **redis.environment}, stdout=log, stderr=log)
        with ended(process):
            until(lambda: _answers(port), process, "Redis", within=10)
            yield f"127.0.0.1:{port}"


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
