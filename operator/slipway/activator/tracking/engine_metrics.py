"""Reads the metrics that idleness depends on: an engine's requests in flight, and its counter of tokens; and, where
replicas follow them, its histograms of times. Pure.

While a replica is ready, requests don't pass through the activator, so only the engine knows. What its metrics are
called, its pods say in annotations (`slipway.api.engine_notes`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from slipway.activator.tracking.histograms import Buckets, HistogramReader, Times
from slipway.api.engine_notes import OUR_WORDS, Series, Words

MOST_IN_FLIGHT, MOST_TOKENS = 1e6, 1e15
"""A value that is larger, negative or no number can't be true of an engine."""
LONGEST_LINE = 64 * 1024
CACHED_PATTERNS = 64  # for as many different runtimes

_NUMBER = re.compile(rb"[-+]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][-+]?[0-9]{1,3})?")
_END_OF_LABEL = rb"\s*(?:,|$)"


@dataclass(frozen=True)
class MetricsReading:
    """What one replica reports of itself."""

    in_flight: float
    tokens: float  # or another counter of its work
    times: Mapping[str, Buckets] = field(default_factory=dict)  # those histograms that it has


class EngineMetrics:
    """One scrape of an engine, read as it arrives, so that none of it is stored."""

    def __init__(self, words: Words = OUR_WORDS, times: Times = ()) -> None:
        self._rest = b""  # a line that isn't complete
        self._in_flight = self._tokens = 0.0
        self._is_known = words.silent_until_used
        self._is_plausible = True
        self._pattern = _pattern(words)
        self._times = {name: HistogramReader(metrics) for name, metrics in times}

    def add(self, data: bytes) -> None:
        lines, newline, self._rest = (self._rest + data).rpartition(b"\n")
        self._is_plausible = self._is_plausible and len(self._rest) <= LONGEST_LINE
        if not self._is_plausible:
            self._rest = b""
        elif newline:
            self._read(lines)

    def reading(self) -> MetricsReading | None:
        """None: there is none of the series that are needed, or their values can't be true."""
        self.add(b"\n")
        is_plausible = self._is_plausible and self._in_flight <= MOST_IN_FLIGHT and self._tokens <= MOST_TOKENS
        if not (self._is_known and is_plausible):
            return None
        times = {name: reader.buckets() for name, reader in self._times.items()}
        return MetricsReading(
            self._in_flight, self._tokens, {name: buckets for name, buckets in times.items() if buckets}
        )

    def _read(self, lines: bytes) -> None:
        for reader in self._times.values():
            reader.read(lines)
        for name, labels, value in self._pattern.sample.findall(lines):
            is_in_flight = self._pattern.in_flight.has(name, labels)
            if not (is_in_flight or self._pattern.progress.has(name, labels)):
                continue
            self._is_known = True
            number = float(value) if _NUMBER.fullmatch(value) else -1.0
            self._is_plausible = self._is_plausible and number >= 0
            if is_in_flight:
                self._in_flight += number
            else:
                self._tokens += number


def read(metrics: str, words: Words = OUR_WORDS) -> MetricsReading | None:
    """An entire scrape in one go."""
    reader = EngineMetrics(words)
    reader.add(metrics.encode())
    return reader.reading()


# --- how series are recognised ----------------------------------------------------------------------------------------


class _SeriesMatcher:
    """Series by their names; of each name, one of several sets of labels has to match."""

    def __init__(self, series: Iterable[Series]) -> None:
        self._by_name: dict[bytes, list[list[re.Pattern[bytes]]]] = {}
        for each in series:
            labels = [_label(name, value) for name, value in each.labels]
            self._by_name.setdefault(each.name.encode(), []).append(labels)

    def has(self, name: bytes, labels: bytes) -> bool:
        alternatives = self._by_name.get(name, ())
        return any(all(label.search(labels) for label in required) for required in alternatives)


@dataclass(frozen=True)
class _MetricsPattern:
    sample: re.Pattern[bytes]
    in_flight: _SeriesMatcher
    progress: _SeriesMatcher


@lru_cache(maxsize=CACHED_PATTERNS)
def _pattern(words: Words) -> _MetricsPattern:
    names = sorted({re.escape(series.name.encode()) for series in (*words.in_flight, *words.progress)})
    sample = re.compile(rb"^(%b)(?:\{(.*)\})?[ \t]+(\S+)" % b"|".join(names), re.MULTILINE)
    return _MetricsPattern(sample, _SeriesMatcher(words.in_flight), _SeriesMatcher(words.progress))


def _label(name: str, value: str) -> re.Pattern[bytes]:
    """It can't match within the value of another label, where quotation marks are escaped."""
    return re.compile(rb'(?:^|,)\s*%b="%b"%b' % (name.encode(), re.escape(value.encode()), _END_OF_LABEL))
