"""The times between the tokens of streams, as a histogram: one is counted for each piece of a stream that brings text.

Prometheus' own histogram takes a lock and searches its boundaries in a loop, for every token of every stream.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.core import Exemplar, HistogramMetricFamily
from prometheus_client.registry import Collector

from slipway_runtime.contract.buckets import TOKEN_BUCKETS


class Gaps(Collector):
    def __init__(self, model: str) -> None:
        self._model = model
        self._counts = [0] * (len(TOKEN_BUCKETS) + 1)
        self._sum = 0.0
        self._exemplars: dict[int, Exemplar] = {}

    def count(self, seconds: float) -> None:
        self._counts[bisect_left(TOKEN_BUCKETS, seconds)] += 1
        self._sum += seconds

    def exemplify(self, seconds: float, trace_id: str) -> None:
        """Names the trace in which this time was counted."""
        self._exemplars[bisect_left(TOKEN_BUCKETS, seconds)] = Exemplar({"trace_id": trace_id}, seconds, time.time())

    def collect(self) -> Iterator[HistogramMetricFamily]:
        family = HistogramMetricFamily(
            "slipway_inter_token_latency_seconds",
            "Time from one piece of a stream with text to the next.",
            labels=["model_name"],
        )
        family.add_metric([self._model], list(self._buckets()), self._sum)
        yield family

    def _buckets(self) -> Iterator[tuple[str, float] | tuple[str, float, Exemplar]]:
        for number, passed in enumerate(accumulate(self._counts)):
            bound = str(TOKEN_BUCKETS[number]) if number < len(TOKEN_BUCKETS) else "+Inf"
            exemplar = self._exemplars.get(number)
            yield (bound, passed, exemplar) if exemplar else (bound, passed)
