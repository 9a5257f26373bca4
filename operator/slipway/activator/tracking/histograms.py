"""Reads histograms of an engine's metrics, and computes percentiles from what was added to them. Pure.

The owner of a pod decides what it exports. So the buckets of one histogram are limited in number, and one with a value
that can't be true counts as one that isn't there.
"""

from __future__ import annotations

import math
import re
from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

MOST_BUCKETS = 64  # different boundaries of one histogram
MOST_COUNTED = 1e15
CACHED_PATTERNS = 64

Buckets = Mapping[float, float]
"""By boundaries, how many values were at or below them; or, in what `between` returns, between them and the next lower
one."""


class Packed(NamedTuple):
    """Buckets in a tenth of the memory: boundaries are the same in all readings of a replica."""

    boundaries: tuple[float, ...]
    counts: array[float]

    def buckets(self) -> Buckets:
        return dict(zip(self.boundaries, self.counts, strict=True))


Times = tuple[tuple[str, tuple[str, ...]], ...]
"""Histograms to read: what they are called here, and the names that their metric may have."""

_NUMBER = re.compile(rb"(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][-+]?[0-9]{1,3})?")
_BOUNDARY = re.compile(rb'(?:^|,)\s*le="([^"]{1,32})"\s*(?:,|$)')


class HistogramReader:
    """One histogram of one scrape, under any of its names; read as it arrives. All of its series are added up."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._sample = _pattern(names)
        self._counts: defaultdict[float, float] = defaultdict(float)
        self._is_plausible = True

    def read(self, lines: bytes) -> None:
        """Complete lines."""
        for labels, value in self._sample.findall(lines) if self._is_plausible else ():
            found = _BOUNDARY.search(labels)
            boundary, count = _number(found[1]) if found else None, _number(value)
            if boundary is None or count is None or not count <= MOST_COUNTED:
                self._is_plausible = False
                return
            self._counts[boundary] += count
        self._is_plausible = self._is_plausible and len(self._counts) <= MOST_BUCKETS

    def buckets(self) -> Buckets | None:
        """None: there is no such histogram, or it can't be true."""
        return dict(self._counts) if self._counts and self._is_plausible else None


def packed(buckets: Buckets, like: Packed | None = None) -> Packed:
    """`like`: an earlier reading, whose boundaries are taken if they are the same."""
    boundaries = tuple(buckets)
    return Packed(
        like.boundaries if like and like.boundaries == boundaries else boundaries, array("d", buckets.values())
    )


def between(before: Buckets, after: Buckets) -> Buckets | None:
    """What was added, in each bucket alone; None if a count went back, as after a restart."""
    added, lower = {}, 0.0
    for boundary in sorted(after):
        up_to_here = after[boundary] - before.get(boundary, 0.0)
        if up_to_here < 0:
            return None
        added[boundary] = max(0.0, up_to_here - lower)
        lower = max(lower, up_to_here)
    return None if before.keys() - after.keys() else added


def sum_of(several: Iterable[Buckets]) -> Buckets:
    """Of replicas, each with the values in each bucket alone. Their boundaries may differ, as during an update."""
    total: defaultdict[float, float] = defaultdict(float)
    for each in several:
        for boundary, count in each.items():
            total[boundary] += count
    return total


def percentile(buckets: Buckets, share: float) -> float | None:
    """By linear interpolation within a bucket, as Prometheus does. Above the highest boundary, that boundary; None
    without values."""
    total = math.fsum(buckets.values())
    if not total:
        return None
    rank, below, lower = share * total, 0.0, 0.0
    for boundary in sorted(buckets):
        count = buckets[boundary]
        if math.isinf(boundary):
            break
        if count and below + count >= rank:
            return lower + (boundary - lower) * (rank - below) / count
        below, lower = below + count, boundary
    return lower or None


def _number(text: bytes) -> float | None:
    """None for anything that isn't a number from zero on."""
    if text == b"+Inf":
        return math.inf
    return float(text) if _NUMBER.fullmatch(text) else None


@lru_cache(maxsize=CACHED_PATTERNS)
def _pattern(names: tuple[str, ...]) -> re.Pattern[bytes]:
    either = b"|".join(re.escape(name.encode()) for name in names)
    return re.compile(rb"^(?:%b)_bucket\{(.*)\}[ \t]+(\S+)" % either, re.MULTILINE)
