"""Whether a model is in use, as its engines' own metrics tell: their requests, and the tokens that they make. Pure.

Requests don't pass through us while a replica is ready, so nobody else knows. What an engine's metrics are called, its
pods say (`slipway.api.engine_notes`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from slipway.api.engine_notes import OUR_WORDS, Series, Words

MOST_IN_FLIGHT, MOST_TOKENS = 1e6, 1e15
"""What is more, is less than nothing, or is no number at all can't be true of an engine."""
LONGEST_LINE = 64 * 1024
KEPT = 64  # ways to read, of as many different runtimes

_NUMBER = re.compile(rb"[-+]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][-+]?[0-9]{1,3})?")
_END_OF_LABEL = rb"\s*(?:,|$)"


@dataclass(frozen=True)
class MetricsReading:
    """What one replica says of itself."""

    in_flight: float
    tokens: float  # or whatever else it counts of its work


class EngineMetrics:
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

    def reading(self) -> MetricsReading | None:
        """None: they have none of those that are looked for, or make no sense."""
        self.add(b"\n")
        makes_sense = self._makes_sense and self._in_flight <= MOST_IN_FLIGHT and self._tokens <= MOST_TOKENS
        return MetricsReading(self._in_flight, self._tokens) if self._is_known and makes_sense else None

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


def read(metrics: str, words: Words = OUR_WORDS) -> MetricsReading | None:
    """All at once."""
    reader = EngineMetrics(words)
    reader.add(metrics.encode())
    return reader.reading()


# --- how words are found ---------------------------------------------------------------------------------------------


class _SeriesMatcher:
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
class _MetricsPattern:
    sample: re.Pattern[bytes]
    in_flight: _SeriesMatcher
    progress: _SeriesMatcher


@lru_cache(maxsize=KEPT)
def _way_to_read(words: Words) -> _MetricsPattern:
    names = sorted({re.escape(series.name.encode()) for series in (*words.in_flight, *words.progress)})
    sample = re.compile(rb"^(%b)(?:\{(.*)\})?[ \t]+(\S+)" % b"|".join(names), re.MULTILINE)
    return _MetricsPattern(sample, _SeriesMatcher(words.in_flight), _SeriesMatcher(words.progress))


def _label(name: str, value: str) -> re.Pattern[bytes]:
    """In another label's value, the quotation marks would be escaped."""
    return re.compile(rb'(?:^|,)\s*%b="%b"%b' % (name.encode(), re.escape(value.encode()), _END_OF_LABEL))
