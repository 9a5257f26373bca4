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

MOST_IN_FLIGHT, MOST_TOKENS = 1e6, 1e15
"""What is more, is less than nothing, or is no number at all can't be true of an engine."""
LONGEST_LINE = 64 * 1024

_SAMPLE = re.compile(
    rb"^(%b)(?:\{(.*)\})?[ \t]+(\S+)" % b"|".join(map(str.encode, sorted(IN_FLIGHT | TOKENS))), re.MULTILINE
)
_NUMBER = re.compile(rb"[-+]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][-+]?[0-9]{1,3})?")


@dataclass(frozen=True)
class Reading:
    """What one replica says of itself."""

    in_flight: float
    tokens: float


class Metrics:
    """What an engine says, read as it comes, so that none of it is kept."""

    def __init__(self) -> None:
        self._rest = b""  # a line that isn't complete
        self._in_flight = self._tokens = 0.0
        self._is_known = False
        self._makes_sense = True

    def add(self, data: bytes) -> None:
        lines, newline, self._rest = (self._rest + data).rpartition(b"\n")
        self._makes_sense = self._makes_sense and len(self._rest) <= LONGEST_LINE
        if not self._makes_sense:
            self._rest = b""
        elif newline:
            self._read(lines)

    def reading(self) -> Reading | None:
        """None: they are not those of an engine that is known here, or make no sense."""
        self.add(b"\n")
        makes_sense = self._makes_sense and self._in_flight <= MOST_IN_FLIGHT and self._tokens <= MOST_TOKENS
        return Reading(self._in_flight, self._tokens) if self._is_known and makes_sense else None

    def _read(self, lines: bytes) -> None:
        for name, _, value in _SAMPLE.findall(lines):
            self._is_known = True
            number = float(value) if _NUMBER.fullmatch(value) else -1.0
            self._makes_sense = self._makes_sense and number >= 0
            if name.decode() in IN_FLIGHT:
                self._in_flight += number
            else:
                self._tokens += number


def read(metrics: str) -> Reading | None:
    """All at once."""
    reader = Metrics()
    reader.add(metrics.encode())
    return reader.reading()


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
