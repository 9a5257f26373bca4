"""What the status reports of a plan: `status.plan`. Numbers are rounded for people; docs/planning.md explains each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

from slipway.api import units
from slipway.api.engine import MOST_CONCURRENCY
from slipway.api.schema import LONGEST_LINE, MOST_LINES
from slipway.api.status import PROMPT
from slipway.objects.kinds import Object

EVIDENCE = ("exact", "measured", "reported", "estimated")  # the best first
SHORTEST, LONGEST = 1e-6, 1e7  # seconds
PARTS = {
    "total": ("total",),
    "budget": ("budget",),
    "weights": ("weights",),
    "kvCache": ("kv_cache",),
    "overhead": ("activation", "other", "graphs"),
    "outside": ("outside",),
}
"""By the name in the status, the fields of the plan's memory that it is made of."""


class PlannedMemory(Protocol):
    """How the memory of one device is divided, in bytes."""

    @property
    def total(self) -> int: ...
    @property
    def budget(self) -> int: ...
    @property
    def weights(self) -> int: ...
    @property
    def overhead(self) -> int: ...
    @property
    def outside(self) -> int: ...
    @property
    def kv_cache(self) -> int: ...
    @property
    def evidence(self) -> Mapping[str, str]: ...


class PlannedSpeed(Protocol):
    """What one replica is expected to do; times in seconds."""

    @property
    def time_per_token(self) -> float: ...
    @property
    def time_per_token_at_concurrency(self) -> float: ...
    @property
    def tokens_per_second(self) -> float: ...
    @property
    def cost_per_million_tokens(self) -> float | None: ...
    @property
    def formula(self) -> str: ...
    def time_to_first_token(self, prompt: int) -> float: ...


class Planned(Protocol):
    """A plan."""

    @property
    def profile(self) -> str: ...
    @property
    def gpus_per_replica(self) -> int: ...
    @property
    def tensor(self) -> int: ...
    @property
    def pipeline(self) -> int: ...
    @property
    def max_concurrency(self) -> int | None: ...
    @property
    def context_length(self) -> int | None: ...
    @property
    def start_limit(self) -> float | None: ...
    @property
    def memory(self) -> PlannedMemory | None: ...
    @property
    def kv_tokens(self) -> int | None: ...
    @property
    def task(self) -> str: ...
    @property
    def concurrent_at_full_length(self) -> float | None: ...
    @property
    def speed(self) -> PlannedSpeed | None: ...
    @property
    def why(self) -> Sequence[str]: ...
    @property
    def rejected(self) -> Sequence[str]: ...
    @property
    def warnings(self) -> Sequence[str]: ...


def reported(plan: Planned) -> Object:
    """The plan as `status.plan` has it; what isn't known is left out."""
    at_full_length = plan.concurrent_at_full_length
    known = {
        "task": plan.task or None,
        "accelerator": plan.profile or None,
        "gpusPerReplica": plan.gpus_per_replica,
        "tensor": plan.tensor if plan.gpus_per_replica else None,
        "pipeline": plan.pipeline if plan.gpus_per_replica else None,
        "memory": _memory(plan.memory) if plan.memory else None,
        "kvTokens": plan.kv_tokens,
        "maxConcurrency": min(plan.max_concurrency, MOST_CONCURRENCY) if plan.max_concurrency else None,
        "concurrencyAtFullLength": None if at_full_length is None else _rounded(at_full_length),
        "contextLength": plan.context_length,
        "startLimit": _limit(plan.start_limit),
        "expected": _speed(plan.speed) if plan.speed else None,
    }
    return {
        **_without_unknown(known),
        "why": lines(plan.why),
        "rejected": lines(plan.rejected),
        "warnings": lines(plan.warnings),
    }


def lines(sentences: Sequence[str]) -> list[str]:
    """As many as the status admits, and no longer than it admits."""
    kept = [each if len(each) <= LONGEST_LINE else f"{each[: LONGEST_LINE - 1]}…" for each in sentences]
    more = len(kept) - MOST_LINES
    return [*kept[: MOST_LINES - 1], f"… and {more + 1} more."] if more > 0 else kept


def _memory(memory: PlannedMemory) -> Object:
    sizes = {
        "total": memory.total,
        "budget": memory.budget,
        "weights": memory.weights,
        "kvCache": memory.kv_cache,
        "overhead": memory.overhead,
        "outside": memory.outside,
    }
    evidence = {name: _worst([memory.evidence.get(part, "") for part in parts]) for name, parts in PARTS.items()}
    return {
        **{name: units.about(size) for name, size in sizes.items()},
        "evidence": _without_unknown(evidence),
    }


def _worst(words: Sequence[str]) -> str | None:
    """A sum is known no better than its worst part; None if that is unknown."""
    found = [str(each) for each in words]
    return max(found, key=EVIDENCE.index) if all(each in EVIDENCE for each in found) else None


def _speed(speed: PlannedSpeed) -> Object:
    expected = {
        "timePerToken": _time(speed.time_per_token),
        "timePerTokenAtMaxConcurrency": _time(speed.time_per_token_at_concurrency),
        "timeToFirstToken": _time(speed.time_to_first_token(PROMPT)),
        "tokensPerSecond": _rounded(speed.tokens_per_second),
        "costPerMillionTokens": _rounded(speed.cost_per_million_tokens),
        "formula": speed.formula[:LONGEST_LINE] or None,
    }
    return _without_unknown(expected)


def _limit(seconds: float | None) -> str | None:
    return None if seconds is None or not SHORTEST <= seconds <= LONGEST else units.duration(seconds)


def _time(seconds: float) -> str | None:
    """Three digits, as `9.12ms` or `1.5s`; None for a time that no start and no request takes."""
    if not SHORTEST <= seconds <= LONGEST:
        return None
    number, unit = (seconds, "s") if seconds >= 1 else (seconds * 1000, "ms")
    return f"{_rounded(number):.12g}{unit}"


def _rounded(number: float | None) -> float | None:
    """Three digits; None for what JSON can't hold."""
    if number is None or not math.isfinite(number):
        return None
    return float(f"{number:.3g}")


def _without_unknown(fields: Mapping[str, object]) -> Object:
    return {name: value for name, value in fields.items() if value is not None}
