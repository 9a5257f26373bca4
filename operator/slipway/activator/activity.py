"""Whether a model is in use, as its engines' own metrics tell: their requests, and the tokens that they make. Pure.

Requests don't pass through us while a replica is ready, so nobody else knows.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

IN_FLIGHT = frozenset(
    {
        "vllm:num_requests_running",
        "vllm:num_requests_waiting",
        "llamacpp:requests_processing",
        "llamacpp:requests_deferred",
    }
)
TOKENS = frozenset(
    {
        "vllm:prompt_tokens_total",
        "vllm:generation_tokens_total",
        "llamacpp:prompt_tokens_total",
        "llamacpp:tokens_predicted_total",
    }
)
"""Counters: a short request between two looks is seen by them."""

STALE_AFTER = 15.0  # seconds without a reading, after which nothing is known of a replica

_SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{.*\})? +([-+0-9.eE]+)", re.MULTILINE)


@dataclass(frozen=True)
class Reading:
    """What one replica says of itself."""

    in_flight: float
    tokens: float


def read(metrics: str) -> Reading | None:
    """None: they are not those of an engine that is known here."""
    in_flight = tokens = 0.0
    is_known = False
    for name, value in _SAMPLE.findall(metrics):
        if name in IN_FLIGHT:
            in_flight += float(value)
            is_known = True
        elif name in TOKENS:
            tokens += float(value)
    return Reading(in_flight, tokens) if is_known else None


@dataclass
class _Replica:
    reading: Reading
    at: float


class Activity:
    """Of one deployment. Replicas are known by their pods' uids; the clock is an argument."""

    def __init__(self) -> None:
        self._replicas: dict[str, _Replica] = {}
        self._last_use = 0.0

    @property
    def in_flight(self) -> float:
        return sum(replica.reading.in_flight for replica in self._replicas.values())

    def hear(self, uid: str, reading: Reading, now: float) -> None:
        """A replica that wasn't known before counts as used right now: nobody starts one for nothing."""
        before = self._replicas.get(uid)
        if before is None or reading.in_flight or reading.tokens != before.reading.tokens:
            self._last_use = now
        self._replicas[uid] = _Replica(reading, now)

    def keep_only(self, uids: Collection[str]) -> None:
        self._replicas = {uid: replica for uid, replica in self._replicas.items() if uid in uids}

    def idle_for(self, uids: Collection[str], now: float) -> float:
        """Seconds without any use of these replicas; 0 as long as one of them isn't known well enough."""
        known = [self._replicas.get(uid) for uid in uids]
        if not all(replica and now - replica.at <= STALE_AFTER for replica in known):
            return 0.0
        return max(0.0, now - self._last_use)
