"""What /proc tells about processes."""

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
    """The fields of /proc/PID/stat from the third on: the name before them may contain anything."""
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


class Demand(NamedTuple):
    """In seconds, so far."""

    spent: float
    """On processors."""
    waited: float
    """Ready to run, and without a processor."""


def cpu_demand(session: int) -> Demand:
    """Of all processes of a session."""
    of_session = [process for process in processes() if process.session == session]
    tasks = (task for process in of_session for task in _tasks(process.pid))
    return Demand(sum(process.cpu_seconds for process in of_session), sum(map(_waited, tasks)))


def _tasks(pid: int) -> list[Path]:
    try:
        return list((PROC / str(pid) / "task").iterdir())
    except OSError:  # it has ended meanwhile
        return []


def _waited(task: Path) -> float:
    """Seconds that a thread could have run, had there been a processor for it."""
    try:
        return int((task / "schedstat").read_text().split()[1]) / 1e9
    except OSError:  # the thread has ended, or the kernel doesn't tell
        return 0.0


def children(parent: int) -> list[int]:
    return [process.pid for process in processes() if process.parent == parent]
