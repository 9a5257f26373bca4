"""The control groups (v1 or v2) of a node's pods."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from slipway_devcluster.errors import Refusal


def hierarchies(mountinfo: str) -> list[Path]:
    """Where control groups are mounted: once for version 2, once per controller for version 1."""
    found = []
    for line in mountinfo.splitlines():
        place, _, kind = line.partition(" - ")
        if kind.split()[0] in ("cgroup", "cgroup2"):
            found.append(Path(place.split()[4]))
    return found


def create(name: str) -> None:
    """Create the root group that the kubelet requires; the kubelet creates the groups below it."""
    for hierarchy in _mounted():
        (hierarchy / name).mkdir(exist_ok=True)


def remove(name: str, *, timeout: float = 10.0) -> None:
    """Remove the group and all groups below it, after its processes have ended. Safe to repeat."""
    deadline = time.monotonic() + timeout
    for hierarchy in _mounted():
        while (hierarchy / name).exists():
            for folder, _, _ in os.walk(hierarchy / name, topdown=False):
                with contextlib.suppress(OSError):  # busy until the last process has ended
                    Path(folder).rmdir()
            if time.monotonic() > deadline:
                raise Refusal(f"the control group {hierarchy / name} still has processes; try `down` again")
            time.sleep(0.005)


def _mounted() -> list[Path]:
    return hierarchies(Path("/proc/self/mountinfo").read_text())
