"""What a start took from the compile cache: from `/info` of its pod to `status.compileCache.lastStart`. Pure.

As in `measured.py`, all of it is the tenant's: numbers are bounded, and anything else counts as unknown.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from slipway.contract.pod import (
    COMPILE_CACHE,
    COMPILE_CACHE_FILLING,
    COMPILE_CACHE_STATES,
    COMPILE_CACHE_USED,
)
from slipway.objects.kinds import Object
from slipway.observing import words
from slipway.observing.phases import LONGEST

MOST_BYTES = 1 << 50


@dataclass(frozen=True, kw_only=True)
class CompileReport:
    """What `/info` has as compileCache; None: unknown."""

    state: str
    reason: str = ""
    compile_seconds: float | None = None
    read_seconds: float | None = None
    size: int | None = None
    new_files: int | None = None

    @property
    def compiled(self) -> str | None:
        """What this start compiled; None: the runtime doesn't know yet whether something was missing."""
        if self.state != COMPILE_CACHE_USED:
            return "Everything"
        return None if self.new_files is None else "Something" if self.new_files else "Nothing"

    @property
    def is_settled(self) -> bool:
        """Whether it stays as it is."""
        return self.compiled is not None and self.state != COMPILE_CACHE_FILLING


def report_in(info: bytes) -> CompileReport | None:
    """None: its runtime reports nothing of the kind."""
    try:
        said = json.loads(info)
    except (ValueError, RecursionError):
        return None
    found = said.get(COMPILE_CACHE) if isinstance(said, dict) else None
    if not isinstance(found, dict) or found.get("state") not in COMPILE_CACHE_STATES:
        return None
    size, new_files = found.get("bytes"), found.get("newFiles")
    return CompileReport(
        state=str(found["state"]),
        reason=words.shorten(found["reason"]) if isinstance(found.get("reason"), str) else "",
        compile_seconds=_seconds(found.get("compileSeconds")),
        read_seconds=_seconds(found.get("readSeconds")),
        size=size if type(size) is int and 0 < size <= MOST_BYTES else None,
        new_files=new_files if type(new_files) is int and new_files >= 0 else None,
    )


def last_start(report: CompileReport, *, pod: str, started_at: str) -> Object:
    """`status.compileCache.lastStart`."""
    found: dict[str, Any] = {
        "state": report.state,
        "compiled": report.compiled,
        "message": report.reason or None,
        "compile": _duration(report.compile_seconds),
        "read": _duration(report.read_seconds),
        "size": f"{math.ceil(report.size / (1 << 20))}Mi" if report.size else None,
        "pod": pod,
        "startedAt": started_at,
    }
    return {name: each for name, each in found.items() if each is not None}


def is_settled(status: Object | None, *, pod: str, started_at: str) -> bool:
    """Whether nothing more will be known of this start; so it is where the engine has no compile cache."""
    compiled = (status or {}).get("compileCache")
    if not isinstance(compiled, dict):
        return True
    known = compiled.get("lastStart") or {}
    is_this_one = (known.get("pod"), known.get("startedAt")) == (pod, started_at)
    is_final = known.get("compiled") is not None and known.get("state") != COMPILE_CACHE_FILLING
    return is_this_one and is_final


def _seconds(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value <= LONGEST else None  # type: ignore[operator, arg-type]


def _duration(seconds: float | None) -> str | None:
    """As `34ms`, `3.4s` or `47s`."""
    if seconds is None:
        return None
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"
