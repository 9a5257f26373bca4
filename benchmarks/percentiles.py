"""One way of counting percentiles, for all benchmarks."""

from __future__ import annotations

from collections.abc import Collection


def percentile(values: Collection[float], percent: int) -> float:
    """The smallest value that so many percent of all do not exceed; not a number where there are none."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] if ordered else float("nan")
