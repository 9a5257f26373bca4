"""What the leader exposes of all LLMDeployments as metrics, read from caches and memories when Prometheus asks.

Only the leader, so that sums over the replicas are right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from slipway.observing.giving_up import COMPILED, WEIGHTS
from slipway.operator.reconciling.cost_metrics import prices_of
from slipway.operator.reconciling.memory import Memories
from slipway.operator.reconciling.metrics import OperatorMetrics
from slipway.operator.reconciling.model_metrics import Seen
from slipway.operator.reconciling.opencost import HeldIn, opencost_metrics
from slipway.operator.reconciling.snapshots import SnapshotReader
from slipway.process.metrics import Readings


@dataclass(frozen=True)
class Exposed:
    """Lives as long as the process."""

    memories: Memories
    reader: SnapshotReader
    leads: Callable[[], bool]

    def add_to(self, metrics: OperatorMetrics, *, opencost: bool = False) -> None:
        """`opencost`: under OpenCost's names, too."""
        metrics.watch_models(self._by_state)
        metrics.watch_compile_caches(partial(self._caches, COMPILED))
        metrics.watch_model_caches(partial(self._caches, WEIGHTS))
        metrics.watch_each_model(self._each_model)
        metrics.watch_prices(self._prices)
        if opencost:
            metrics.registry.add_of_objects(opencost_metrics(self._held, self.reader.profiles))

    def _by_state(self) -> Readings:
        return dict(self.memories.by_state()) if self.leads() else {}

    def _caches(self, cache: str) -> Readings:
        return dict(self.memories.by_cache(cache)) if self.leads() else {}

    def _each_model(self) -> Iterator[Seen]:
        """They are read while the page is written, so that some may be gone by then."""
        for key in self.reader.everyone() if self.leads() else ():
            if figures := self.reader.figures(key):
                costs = self.memories.costs_of(key, self.reader.now())
                yield Seen(key, figures, self.memories.counts_of(key), costs)

    def _held(self) -> Iterable[HeldIn]:
        return self.memories.held() if self.leads() else ()

    def _prices(self) -> Readings:
        return prices_of(self.reader.profiles()) if self.leads() else {}
