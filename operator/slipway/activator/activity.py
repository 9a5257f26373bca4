"""Whether a model is in use, as its engines' own metrics tell: their requests, and the tokens that they make. Pure.

Requests don't pass through us while a replica is ready, so nobody else knows. What an engine's metrics are called, its
pods say (`slipway.api.engine_notes`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache

from slipway.api.engine_notes import OUR_WORDS, Series, Words

STALE_AFTER = 15.0  # seconds without a reading, after which nothing is known of a replica

MOST_IN_FLIGHT, MOST_TOKENS = 1e6, 1e15
"""What is more, is less than nothing, or is no number at all can't be true of an engine."""
LONGEST_LINE = 64 * 1024
KEPT = 64  # ways to read, of as many different runtimes

_NUMBER = re.compile(rb"[-+]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][-+]?[0-9]{1,3})?")
_END_OF_LABEL = rb"\s*(?:,|$)"


@dataclass(frozen=True)
class Reading:
    """What one replica says of itself."""

    in_flight: float
    tokens: float  # or whatever else it counts of its work


class Metrics:
    """What an engine says, read as it comes, so that none of it is kept."""

    def __init__(self, words: Words = OUR_WORDS) -> None:
        self._rest = b""  # a line that isn't complete
        self._in_flight = self._tokens = 0.0
        self._is_known = words.silent_until_used
        self._makes_sense = True
        self._way = _way_to_read(words)

    def add(self, data: bytes) -> None:
        lines, newline, self._rest = (self._rest + data).rpartition(b"\n")
        self._makes_sense = self._makes_sense and len(self._rest) <= LONGEST_LINE
        if not self._makes_sense:
            self._rest = b""
        elif newline:
            self._read(lines)

    def reading(self) -> Reading | None:
        """None: they have none of those that are looked for, or make no sense."""
        self.add(b"\n")
        makes_sense = self._makes_sense and self._in_flight <= MOST_IN_FLIGHT and self._tokens <= MOST_TOKENS
        return Reading(self._in_flight, self._tokens) if self._is_known and makes_sense else None

    def _read(self, lines: bytes) -> None:
        for name, labels, value in self._way.sample.findall(lines):
            is_in_flight, counts = self._way.in_flight.has(name, labels), self._way.progress.has(name, labels)
            if not (is_in_flight or counts):
                continue
            self._is_known = True
            number = float(value) if _NUMBER.fullmatch(value) else -1.0
            self._makes_sense = self._makes_sense and number >= 0
            if is_in_flight:
                self._in_flight += number
            else:
                self._tokens += number


def read(metrics: str, words: Words = OUR_WORDS) -> Reading | None:
    """All at once."""
    reader = Metrics(words)
    reader.add(metrics.encode())
    return reader.reading()


# --- how words are found ---------------------------------------------------------------------------------------------


class _Named:
    """Series by their names; of each name, the labels of which one set is enough."""

    def __init__(self, series: Iterable[Series]) -> None:
        self._by_name: dict[bytes, list[list[re.Pattern[bytes]]]] = {}
        for each in series:
            labels = [_label(name, value) for name, value in each.labels]
            self._by_name.setdefault(each.name.encode(), []).append(labels)

    def has(self, name: bytes, labels: bytes) -> bool:
        ways = self._by_name.get(name, ())
        return any(all(label.search(labels) for label in way) for way in ways)


@dataclass(frozen=True)
class _Way:
    sample: re.Pattern[bytes]
    in_flight: _Named
    progress: _Named


@lru_cache(maxsize=KEPT)
def _way_to_read(words: Words) -> _Way:
    names = sorted({re.escape(series.name.encode()) for series in (*words.in_flight, *words.progress)})
    sample = re.compile(rb"^(%b)(?:\{(.*)\})?[ \t]+(\S+)" % b"|".join(names), re.MULTILINE)
    return _Way(sample, _Named(words.in_flight), _Named(words.progress))


def _label(name: str, value: str) -> re.Pattern[bytes]:
    """In another label's value, the quotation marks would be escaped."""
    return re.compile(rb'(?:^|,)\s*%b="%b"%b' % (name.encode(), re.escape(value.encode()), _END_OF_LABEL))


# --- of a deployment -------------------------------------------------------------------------------------------------


@dataclass
class _Replica:
    reading: Reading
    at: float
    is_used: bool  # by requests that it has, or that it has answered since the reading before


@dataclass(frozen=True)
class Use:
    """Of the replicas that are ready, in seconds before now."""

    idle_for: float = 0.0  # without any use; 0 as long as one of them isn't known well enough
    is_over: bool = False  # nobody used them when they were last asked
    began: float | None = None  # the use that is, or was the last; None: it was not seen to begin


class Activity:
    """Of one deployment. Replicas are known by their pods' uids; the clock is an argument."""

    def __init__(self) -> None:
        self._replicas: dict[str, _Replica] = {}
        self._last_use = 0.0
        self._use_began: float | None = None

    @property
    def in_flight(self) -> float:
        return sum(replica.reading.in_flight for replica in self._replicas.values())

    def hear(self, uid: str, reading: Reading, now: float) -> None:
        """A replica that wasn't known before counts as used right now: nobody starts one for nothing."""
        before = self._replicas.get(uid)
        is_used = bool(reading.in_flight or (before and reading.tokens != before.reading.tokens))
        if is_used and before and not any(replica.is_used for replica in self._replicas.values()):
            self._use_began = now
        if is_used or before is None:
            self._last_use = now
        self._replicas[uid] = _Replica(reading, now, is_used)

    def keep_only(self, uids: Collection[str]) -> None:
        self._replicas = {uid: replica for uid, replica in self._replicas.items() if uid in uids}

    def use_of(self, uids: Collection[str], now: float) -> Use:
        known = [replica for replica in map(self._replicas.get, uids) if replica and now - replica.at <= STALE_AFTER]
        began = None if self._use_began is None else now - self._use_began
        if len(known) < len(uids):
            return Use(began=began)
        is_over = not any(replica.is_used for replica in known)
        return Use(max(0.0, now - self._last_use), is_over, began)
