"""Reads the facts of the machine on which this process runs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from slipway_runtime.preflight import amd, nvidia
from slipway_runtime.preflight.host import Host, Support
from slipway_runtime.preflight.settings import EngineSettings
from slipway_runtime.preflight.support import read_support

CGROUPS = Path("/sys/fs/cgroup")
LIMITS = ("memory.max", "memory/memory.limit_in_bytes")  # of cgroup v2 and v1
NO_LIMIT = 1 << 60  # v1 has a very large number where there is no limit
SHM = Path("/dev/shm")  # noqa: S108 - the one that engines use


def read_host(settings: EngineSettings) -> Host:
    driver = _driver(settings.device)
    return Host(
        devices=driver.devices,
        driver=driver.version,
        driver_cuda=driver.cuda,
        driver_trouble=driver.trouble,
        memory=memory_limit(),
        shm=_size(SHM),
        cache_free=_free(settings.cache) if settings.cache else None,
        support=_support(settings.engine),
    )


def memory_limit(cgroups: Path = CGROUPS, meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """Returns what the container may use, or the machine has, whichever is less."""
    known = [limit for limit in (*_limits(cgroups), _total(meminfo)) if limit]
    return min(known, default=None)


def _limits(cgroups: Path) -> Iterable[int]:
    for name in LIMITS:
        text = _text(cgroups / name)
        if text.isdecimal() and int(text) < NO_LIMIT:
            yield int(text)


def _total(meminfo: Path) -> int | None:
    for line in _text(meminfo).splitlines():
        name, _, rest = line.partition(":")
        if name == "MemTotal":
            return int(rest.split()[0]) * 1024
    return None


def _driver(device: str) -> nvidia.DriverReport:
    if device == "cuda":
        return nvidia.read_driver(os.environ.get("CUDA_VISIBLE_DEVICES"))
    if device == "rocm":
        return nvidia.DriverReport(devices=amd.read_devices(), trouble=amd.read_trouble())
    return nvidia.DriverReport()


def _support(engine: str) -> Support:
    try:
        return read_support(engine)
    except (OSError, ValueError, RecursionError):
        return Support()


def _size(folder: Path) -> int | None:
    if not os.access(folder, os.W_OK | os.X_OK):
        return None
    space = os.statvfs(folder)
    return space.f_blocks * space.f_frsize


def _free(folder: Path) -> int | None:
    """Returns the free bytes in the folder, or where it would be created."""
    place = next(place for place in (folder, *folder.parents) if place.exists())
    if not os.access(place, os.W_OK | os.X_OK):
        return None
    space = os.statvfs(place)
    return space.f_bavail * space.f_frsize


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
