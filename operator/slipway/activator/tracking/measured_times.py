"""What the replicas of one model have measured recently, as one: percentiles, and how much there was to do. Pure.

All of it starts again when other replicas are ready than before: what fewer of them took says nothing about more of
them. Each activator polls all replicas, so each computes the same, but for the moments of its polls.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import fmean

from slipway.activator.tracking.engine_metrics import MetricsReading
from slipway.activator.tracking.histograms import Buckets, Packed, between, packed, percentile, sum_of

SPANS = (60.0, 120.0, 300.0)  # seconds: the shortest in which there were enough requests
ENOUGH = 20  # requests
SHARE, A_FEW = 0.95, 3
SETTLES_AFTER = 15.0  # seconds in which a new replica gets its part of the requests
KEPT_EVERY = 15.0  # seconds between two readings that are kept
STALE_AFTER = 15.0  # seconds: an older reading isn't that of a replica that serves
MOST_MEASURED = 16  # replicas of a model: what they take says what all take, and its owner can make any number of them
FALLING = 0.95  # requests in flight, relative to before, below which they become fewer


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Of all replicas that are ready, since they have been the same."""

    seconds: Mapping[str, float] = field(default_factory=dict)  # 95th percentiles, of those with enough requests
    observed_for: float = 0.0  # seconds; at most the longest span is looked at
    rate: float = 0.0  # requests per second
    most_in_flight: float = 0.0  # in the last minute
    is_falling: bool = False  # requests in flight become fewer


@dataclass(frozen=True)
class _Reading:
    at: float
    times: Mapping[str, Packed]

    def of(self, name: str) -> Buckets:
        found = self.times.get(name)
        return found.buckets() if found else {}


class MeasuredTimes:
    """Of one model. Replicas are identified by the uids of their pods; the clock is an argument."""

    def __init__(self) -> None:
        self._uids: frozenset[str] = frozenset()
        self._since = 0.0
        self._readings: dict[str, deque[_Reading]] = {}
        self._in_flight: deque[tuple[float, float]] = deque()  # in all replicas: the most of each second

    def follow(self, uids: frozenset[str], now: float) -> None:
        """These replicas are ready."""
        if uids != self._uids:
            self._uids, self._since = uids, now + SETTLES_AFTER
            self._readings.clear()
            self._in_flight.clear()

    def record(self, uid: str, reading: MetricsReading, in_flight: float, now: float) -> None:
        """`in_flight`: of all replicas."""
        if uid not in self._uids or now < self._since:
            return
        self._count(in_flight, now)
        if uid not in self._readings and len(self._readings) >= MOST_MEASURED:
            return
        kept = self._readings.setdefault(uid, deque())
        new = _Reading(now, _packed(reading.times, kept[-1].times if kept else {}))
        if kept and not _follows(kept[-1], new):
            kept.clear()  # its engine has restarted
        if len(kept) > 1 and kept[-1].at - kept[-2].at < KEPT_EVERY:
            kept.pop()
        kept.append(new)
        while len(kept) > 1 and kept[1].at <= now - SPANS[-1]:
            kept.popleft()
        _thin_out(kept, now)

    def measured(self, now: float) -> Measured:
        names = {name for kept in self._readings.values() for name in kept[-1].times}
        added = {name: self._recently(name, now) for name in names}
        found = {name: _percentile(buckets) for name, (_, buckets) in added.items()}
        of_all = len(self._uids) / max(1, len(self._readings))
        return Measured(
            seconds={name: seconds for name, seconds in found.items() if seconds is not None},
            observed_for=max(0.0, now - self._since),
            rate=max((rate for rate, _ in added.values()), default=0.0) * of_all,
            most_in_flight=max((number for _, number in self._in_flight), default=0.0),
            is_falling=self._is_falling(),
        )

    def _count(self, in_flight: float, now: float) -> None:
        if self._in_flight and now - self._in_flight[-1][0] < 1:
            at, before = self._in_flight.pop()
            self._in_flight.append((at, max(before, in_flight)))
        else:
            self._in_flight.append((now, in_flight))
        while self._in_flight[0][0] <= now - SPANS[0]:
            self._in_flight.popleft()

    def _recently(self, name: str, now: float) -> tuple[float, Buckets]:
        """Requests per second, and what was added in all replicas, in each bucket alone."""
        for span in SPANS:
            of_each = list(self._of_each(name, span, now))
            added = sum_of(buckets for _, buckets in of_each)
            if _count(added) >= ENOUGH:
                break
        return sum(_count(buckets) / max(1.0, seconds) for seconds, buckets in of_each), added

    def _of_each(self, name: str, span: float, now: float) -> Iterator[tuple[float, Buckets]]:
        """In how many seconds, and what was added: readings are some seconds apart, so it may be more than the span."""
        for kept in self._readings.values():
            first = next((each for each in reversed(kept) if each.at <= now - span), kept[0])
            added = between(first.of(name), kept[-1].of(name))
            if added and now - kept[-1].at <= STALE_AFTER:
                yield kept[-1].at - first.at, added

    def _is_falling(self) -> bool:
        """Then the replicas that are there do more than arrives."""
        numbers = [number for _, number in self._in_flight]
        half = len(numbers) // 2
        return half > 0 and fmean(numbers[half:]) < FALLING * fmean(numbers[:half])


def _percentile(buckets: Buckets) -> float | None:
    """Of few requests, a lower one: three that were slow don't say that the model is."""
    number = _count(buckets)
    return percentile(buckets, min(SHARE, 1 - A_FEW / number)) if number >= ENOUGH else None


def _count(buckets: Buckets) -> float:
    return sum(buckets.values())


def _packed(times: Mapping[str, Buckets], before: Mapping[str, Packed]) -> Mapping[str, Packed]:
    return {name: packed(buckets, before.get(name)) for name, buckets in times.items()}


def _thin_out(kept: deque[_Reading], now: float) -> None:
    """Those that only longer spans need are about as far apart as the shortest is long."""
    for index in range(len(kept) - 2, 0, -1):
        if kept[index].at <= now - SPANS[0] and kept[index + 1].at - kept[index - 1].at <= SPANS[0]:
            del kept[index]


def _follows(before: _Reading, after: _Reading) -> bool:
    return all(between(before.of(name), after.of(name)) is not None for name in before.times)
