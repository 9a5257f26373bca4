"""The start of a pod, for traces of requests that waited for it: a file that process 1 writes and the guard reads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from slipway_runtime.tracing.context import Trace, parse_traceparent

NAME = "start.json"


@dataclass(frozen=True)
class StartRecord:
    trace: Trace
    moments: tuple[tuple[str, int], ...]
    """The name of each phase, and when it was reached, in nanoseconds since 1970. The first is the process's start."""

    def write(self, folder: Path) -> None:
        data = {"traceparent": self.trace.traceparent(), "moments": self.moments}
        unfinished = folder / f"{NAME}.unfinished"
        unfinished.write_text(json.dumps(data))
        unfinished.replace(folder / NAME)

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Returns None if there is none, or not yet."""
        try:
            data = json.loads((folder / NAME).read_text())
            trace = parse_traceparent(data["traceparent"])
            moments = tuple((str(name), int(at)) for name, at in data["moments"])
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return cls(trace, moments) if trace and moments else None
