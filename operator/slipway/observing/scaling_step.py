"""The last change of the number of replicas that follows times, with what was measured then. Pure.

The activators measure it, from the histograms of all replicas. They serve it as a page, in a form that both sides have
from here; the operator reads the page when it sees such a change, and at no other time.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from slipway.api.model_key import ModelKey
from slipway.objects.kinds import Object

PAGE = "/followed"  # at an activator's management port
MOST_SECONDS = 1e5


class Followed(NamedTuple):
    """A time, as the activator compares it with its target."""

    time: str  # ttftP95 or tpotP95
    seconds: float
    target: float  # seconds


@dataclass(frozen=True)
class Step:
    """From so many replicas to so many."""

    before: int
    after: int
    at: datetime


def page_of(followed: Iterable[tuple[ModelKey, Followed]]) -> bytes:
    return json.dumps({str(key): each for key, each in followed}).encode()


def followed_in(page: bytes, key: ModelKey) -> Followed | None:
    """None: no time of this model is measured, or this isn't such a page."""
    try:
        time, seconds, target = json.loads(page)[str(key)]
        found = Followed(str(time)[:16], float(seconds), float(target))
    except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError):
        return None
    is_valid = all(math.isfinite(each) and 0 <= each <= MOST_SECONDS for each in (found.seconds, found.target))
    return found if is_valid else None


def step_between(before: Object | None, after: Object, now: datetime) -> Step | None:
    """Of two statuses, while at least one replica answers and the spec stays as it is: times change no other number.
    Before the first replica is ready, `desired` may be what the spec starts with."""
    if before is None or before.get("observedGeneration") != after.get("observedGeneration"):
        return None
    replicas, is_now = before.get("replicas") or {}, (after.get("replicas") or {}).get("desired") or 0
    was = replicas.get("desired") or 0
    return Step(was, is_now, now) if replicas.get("ready") and was and is_now and was != is_now else None


def as_status(step: Step, followed: Followed | None) -> Object:
    """`status.lastScaled`. `followed`: None, if no time is measured, as when there are few requests."""
    found = {"at": f"{step.at:%Y-%m-%dT%H:%M:%SZ}", "before": step.before, "after": step.after}
    if followed is None:
        return found
    measured = {"measured": _duration(followed.seconds), "target": _duration(followed.target)}
    return {**found, "time": followed.time, **measured}


def in_words(scaled: Object) -> str:
    step = f"From {scaled.get('before')} to {scaled.get('after')} replicas"
    if not scaled.get("time"):
        return f"{step}; no time was measured then, as when there are few requests."
    return f"{step}. {scaled['time']} was {scaled.get('measured')} then, and its target is {scaled.get('target')}."


def with_scaled(status: Object, before: Object | None, found: Object | None) -> Object:
    """`found`: `status.lastScaled`, if the status before doesn't have it yet. It stays while times are followed."""
    known = found or (before or {}).get("lastScaled")
    return {**status, "lastScaled": known} if known else status


def _duration(seconds: float) -> str:
    return f"{_rounded(seconds * 1e3)}ms" if seconds < 1 else f"{_rounded(seconds)}s"


def _rounded(value: float) -> str:
    """Three digits, and no exponent."""
    return f"{float(f'{value:.3g}'):g}"
