"""When a pod reached each phase: named moments, on the wall clock and in seconds since the process started."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from slipway_runtime.supervisor.processes import stat_fields


@dataclass(frozen=True)
class Moment:
    name: str
    seconds: float  # since the process started
    at: datetime

    def as_json(self) -> dict[str, object]:
        at = self.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"name": self.name, "at": at, "seconds": round(self.seconds, 3)}


def age_of_process(pid: int | str = "self") -> float:
    """Returns the seconds since the kernel started the process: the start of Python counts too."""
    began = int(stat_fields(Path(f"/proc/{pid}/stat").read_text())[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - began


class PhaseRecorder:
    """The moments of one start, for the life of the process."""

    def __init__(
        self,
        *,
        age: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._clock, self._wall = clock, wall
        self._began = clock() - age
        self.moments: list[Moment] = [Moment("started", 0.0, _utc(wall() - age))]

    def reach(self, name: str) -> bool:
        """Records the phase; returns False if it was reached before, since only the first time counts."""
        if any(moment.name == name for moment in self.moments):
            return False
        self.moments.append(Moment(name, self.seconds, _utc(self._wall())))
        return True

    @property
    def seconds(self) -> float:
        return self._clock() - self._began

    @property
    def current(self) -> str:
        return self.moments[-1].name

    def __str__(self) -> str:
        return ", ".join(f"{moment.name} {moment.seconds:.2f}" for moment in self.moments[1:])


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
