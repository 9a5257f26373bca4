"""Whether a model is idle, by the metrics that its engines report. Pure.

A replica is used while it has requests in flight, and when its counter of work (tokens) has changed since the reading
before. What these metrics are called is in `engine_metrics` and `slipway.api.engine_notes`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from slipway.activator.tracking.engine_metrics import MetricsReading

STALE_AFTER = 15.0  # seconds without a reading, after which nothing is known of a replica


@dataclass
class _ReplicaActivity:
    reading: MetricsReading
    at: float
    is_used: bool  # by requests in flight, or by those that it has completed since the reading before


@dataclass(frozen=True)
class ModelUse:
    """Of the replicas that are ready, in seconds before now."""

    idle_for: float = 0.0  # without any use; 0 while nothing recent is known of one of them
    is_over: bool = False  # none of them was used at the last reading
    started: float | None = None  # when the present or the last use started; None: that was not observed


class ModelActivity:
    """Of one model. Replicas are identified by the uids of their pods; the clock is an argument."""

    def __init__(self) -> None:
        self._replicas: dict[str, _ReplicaActivity] = {}
        self._last_use = 0.0
        self._use_started: float | None = None

    @property
    def in_flight(self) -> float:
        return sum(replica.reading.in_flight for replica in self._replicas.values())

    def record(self, uid: str, reading: MetricsReading, now: float) -> None:
        """A replica that wasn't known before counts as used now: it was started for a reason."""
        before = self._replicas.get(uid)
        is_used = bool(reading.in_flight or (before and reading.tokens != before.reading.tokens))
        if is_used and before and not any(replica.is_used for replica in self._replicas.values()):
            self._use_started = now
        if is_used or before is None:
            self._last_use = now
        self._replicas[uid] = _ReplicaActivity(reading, now, is_used)

    def keep_only(self, uids: Collection[str]) -> None:
        self._replicas = {uid: replica for uid, replica in self._replicas.items() if uid in uids}

    def use_of(self, uids: Collection[str], now: float) -> ModelUse:
        known = [replica for replica in map(self._replicas.get, uids) if replica and now - replica.at <= STALE_AFTER]
        started = None if self._use_started is None else now - self._use_started
        if len(known) < len(uids):
            return ModelUse(started=started)
        is_over = not any(replica.is_used for replica in known)
        return ModelUse(max(0.0, now - self._last_use), is_over, started)
