"""How far the fetcher in a pod is, as it reports it. Pure.

All of it is the tenant's, who may run anything in a pod: numbers and strings are bounded here, and only the
LLMDeployment that the pod belongs to ever gets them.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from slipway.api.units import duration
from slipway.contract.pod import FETCH
from slipway.objects.kinds import Object
from slipway.observing import words

MOST, LONGEST_LEFT, LONGEST_WORDS = 1 << 53, 10_000_000, 200
UNITS = ("B", "kB", "MB", "GB", "TB")


class Progress(NamedTuple):
    """Of one pod."""

    pod: str
    bytes: int
    total: int | None
    rate: int  # bytes per second
    seconds_left: int | None
    waits_for: str  # empty: it doesn't wait

    @property
    def percent(self) -> int | None:
        return min(100 * self.bytes // self.total, 100) if self.total else None

    def in_words(self) -> str:
        far = f"{self.percent} %" if self.percent is not None else f"{_size(self.bytes)} so far"
        if self.waits_for:
            return f"{far}; {self.waits_for}"
        return ", ".join([far, f"{_size(self.rate)}/s", *self._left()])

    def _left(self) -> list[str]:
        if self.seconds_left is None:
            return []
        return [f"{self.seconds_left} s left" if self.seconds_left < 60 else f"{duration(self.seconds_left)} left"]

    def as_status(self) -> Object:
        found = {
            "pod": self.pod,
            "bytes": self.bytes,
            "total": self.total,
            "percent": self.percent,
            "bytesPerSecond": self.rate,
            "secondsLeft": self.seconds_left,
            "waitsFor": self.waits_for or None,
        }
        return {name: value for name, value in found.items() if value is not None}


def progress_in(info: bytes, pod: str) -> Progress | None:
    """None: this isn't the response of a fetcher."""
    try:
        said = json.loads(info)
    except (ValueError, RecursionError):
        return None
    found = said.get(FETCH) if isinstance(said, dict) else None
    if not isinstance(found, dict):
        return None
    total, left, waiting = (found.get(name) for name in ("total", "secondsLeft", "waiting"))
    return Progress(
        pod=pod,
        bytes=_count(found.get("bytes")),
        total=_count(total) or None,
        rate=_count(found.get("bytesPerSecond")),
        seconds_left=None if left is None else min(_count(left), LONGEST_LEFT),
        waits_for=words.shorten(waiting, LONGEST_WORDS) if isinstance(waiting, str) else "",
    )


def _count(value: Any) -> int:
    return min(max(value, 0), MOST) if isinstance(value, int) and not isinstance(value, bool) else 0


def _size(count: int) -> str:
    """In decimal units, as networks are measured."""
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.1f} {UNITS[unit]}" if unit and value < 9.95 else f"{value:.0f} {UNITS[unit]}"
