"""What /proc says about processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")


class Process(NamedTuple):
    pid: int
    parent: int
    session: int
    cpu_seconds: float
    is_zombie: bool


def stat_fields(text: str) -> list[str]:
    """Returns the fields of /proc/PID/stat from the third on: the name before them may contain anything."""
    return text[text.rindex(")") + 2 :].split()


def processes() -> Iterator[Process]:
    for entry in PROC.iterdir():
        if entry.name.isdecimal():
            try:
                fields = stat_fields((entry / "stat").read_text())
            except (OSError, ValueError):  # it has ended meanwhile
                continue
            cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            yield Process(int(entry.name), int(fields[1]), int(fields[3]), cpu, fields[0] == "Z")


class CpuDemand(NamedTuple):
    """CPU time so far, in seconds."""

    spent: float
    """On a CPU."""
    waited: float
    """Runnable, without a CPU."""


def cpu_demand(session: int) -> CpuDemand:
    """Returns the CPU time of all processes of a session."""
    of_session = [process for process in processes() if process.session == session]
    tasks = (task for process in of_session for task in _tasks(process.pid))
    return CpuDemand(sum(process.cpu_seconds for process in of_session), sum(map(_waited, tasks)))


def _tasks(pid: int) -> list[Path]:
    try:
        return list((PROC / str(pid) / "task").iterdir())
    except OSError:  # it has ended meanwhile
        return []


def _waited(task: Path) -> float:
    """Returns the seconds in which a thread was runnable and had no CPU."""
    try:
        return int((task / "schedstat").read_text().split()[1]) / 1e9
    except OSError:  # the thread has ended, or this kernel doesn't count it
        return 0.0


def children(parent: int) -> list[int]:
    return [process.pid for process in processes() if process.parent == parent]
