"""Whether a model is idle, by what its engines say of themselves. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from slipway.activator.tracking.engine_metrics import MetricsReading

STALE_AFTER = 15.0  # seconds without a reading, after which nothing is known of a replica


@dataclass
class _ReplicaActivity:
    reading: MetricsReading
    at: float
    is_used: bool  # by requests that it has, or that it has answered since the reading before


@dataclass(frozen=True)
class ModelUse:
    """Of the replicas that are ready, in seconds before now."""

    idle_for: float = 0.0  # without any use; 0 as long as one of them isn't known well enough
    is_over: bool = False  # nobody used them when they were last asked
    began: float | None = None  # the use that is, or was the last; None: it was not seen to begin


class ModelActivity:
    """Of one deployment. Replicas are known by their pods' uids; the clock is an argument."""

    def __init__(self) -> None:
        self._replicas: dict[str, _ReplicaActivity] = {}
        self._last_use = 0.0
        self._use_began: float | None = None

    @property
    def in_flight(self) -> float:
        return sum(replica.reading.in_flight for replica in self._replicas.values())

    def hear(self, uid: str, reading: MetricsReading, now: float) -> None:
        """A replica that wasn't known before counts as used right now: nobody starts one for nothing."""
        before = self._replicas.get(uid)
        is_used = bool(reading.in_flight or (before and reading.tokens != before.reading.tokens))
        if is_used and before and not any(replica.is_used for replica in self._replicas.values()):
            self._use_began = now
        if is_used or before is None:
            self._last_use = now
        self._replicas[uid] = _ReplicaActivity(reading, now, is_used)

    def keep_only(self, uids: Collection[str]) -> None:
        self._replicas = {uid: replica for uid, replica in self._replicas.items() if uid in uids}

    def use_of(self, uids: Collection[str], now: float) -> ModelUse:
        known = [replica for replica in map(self._replicas.get, uids) if replica and now - replica.at <= STALE_AFTER]
        began = None if self._use_began is None else now - self._use_began
        if len(known) < len(uids):
            return ModelUse(began=began)
        is_over = not any(replica.is_used for replica in known)
        return ModelUse(max(0.0, now - self._last_use), is_over, began)
