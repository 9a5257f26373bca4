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


def cpu_seconds(session: int) -> float:
    """What the processes of a session have used up so far."""
    return sum(process.cpu_seconds for process in processes() if process.session == session)


def children(parent: int) -> list[int]:
    return [process.pid for process in processes() if process.parent == parent]
