"""Metrics as Prometheus' text format has them, and what two readings of a model's pods say of the time between.

Pure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from slipway.contract.engines import ENGINES

LINE = re.compile(r"^([A-Za-z_:][\w:]*)(?:\{([^}]*)\})? (\S+)")
LABEL = re.compile(r'\b(\w++)="((?:[^"\\]|\\.)*+)"')  # without a way back: long words would take for ever
KV_USAGE = {"vllm": "vllm:kv_cache_usage_perc"}
"""A gauge of 0 to 1, of the engines that have one."""
GREATEST = 1e18  # a greater number is none of an engine's, and sums stay finite
MOST_BUCKETS = 200  # of a histogram; engines have about 30
Labels = Mapping[str, str]
Series = Mapping[str, list[tuple[Labels, float]]]
Buckets = Mapping[float, float]  # how many were at most that long


def series_in(text: str, wanted: Iterable[str]) -> Series:
    """The series of these metrics, of histograms those that end in `_bucket`."""
    names = set(wanted)
    found: dict[str, list[tuple[Labels, float]]] = {}
    for line in text.splitlines():
        match = LINE.match(line)
        if match and match[1] in names:
            found.setdefault(match[1], []).append((dict(LABEL.findall(match[2] or "")), _number(match[3])))
    return found


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if abs(value) < GREATEST else 0.0


@dataclass(frozen=True)
class Reading:
    """Of one pod at one moment. None: it doesn't report it."""

    at: float  # seconds of a clock that only goes forward
    in_flight: float | None = None
    output_tokens: float | None = None
    prompt_tokens: float | None = None
    kv_usage: float | None = None
    ttft: Buckets = field(default_factory=dict)
    tpot: Buckets = field(default_factory=dict)


def reading_of(text: str, engine: str, at: float) -> Reading:
    """Of an engine that Slipway knows; of another, nothing."""
    known = ENGINES.get(engine)
    if known is None:
        return Reading(at)
    metrics, kv = known.metrics, KV_USAGE.get(engine, "")
    buckets = [f"{name}_bucket" for name in (*metrics.ttft, *metrics.tpot)]
    sums = (*metrics.in_flight, *metrics.output_tokens, *metrics.prompt_tokens)
    series = series_in(text, {kv, *buckets, *sums})
    return Reading(
        at,
        in_flight=_sum(series, metrics.in_flight),
        output_tokens=_sum(series, metrics.output_tokens),
        prompt_tokens=_sum(series, metrics.prompt_tokens),
        kv_usage=_sum(series, (kv,)),
        ttft=_buckets(series, metrics.ttft),
        tpot=_buckets(series, metrics.tpot),
    )


def _sum(series: Series, names: Iterable[str]) -> float | None:
    found = [value for name in names for _, value in series.get(name, [])]
    return sum(found) if found else None


def _buckets(series: Series, names: Iterable[str]) -> Buckets:
    found: dict[float, float] = {}
    for name in names:
        for labels, value in series.get(f"{name}_bucket", []):
            limit = math.inf if labels.get("le") == "+Inf" else _number(labels.get("le", ""))
            if limit in found or len(found) < MOST_BUCKETS:
                found[limit] = found.get(limit, 0.0) + value
    return found


# --- what readings say together --------------------------------------------------------------------------------------


def rate(before: float | None, after: float | None, seconds: float) -> float | None:
    """Per second; a counter that has become smaller has started again."""
    if before is None or after is None or seconds <= 0:
        return None
    return max(0.0, after - before if after >= before else after) / seconds


def between(before: Buckets, after: Buckets) -> Buckets:
    if any(after.get(limit, 0.0) < count for limit, count in before.items()):
        return after  # the engine has started again
    return {limit: count - before.get(limit, 0.0) for limit, count in after.items()}


def added(many: Iterable[Buckets]) -> Buckets:
    found: dict[float, float] = {}
    for each in many:
        for limit, count in each.items():
            found[limit] = found.get(limit, 0.0) + count
    return found


def quantile(share: float, buckets: Buckets) -> float | None:
    """As Prometheus' histogram_quantile: linear within a bucket; None: nothing was counted."""
    limits = sorted(buckets)
    total = buckets[limits[-1]] if limits else 0.0
    if total <= 0:
        return None
    wanted, lower, below = share * total, 0.0, 0.0
    for limit in limits:
        count = buckets[limit]
        if count >= wanted:
            if math.isinf(limit):
                return lower
            return lower + (limit - lower) * ((wanted - below) / (count - below) if count > below else 1.0)
        lower, below = limit, count
    return lower
