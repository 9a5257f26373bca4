"""How many responses the engine computes at a time, as a counter of the time that it had each of them.

Its rate is their mean number, however short they are: a gauge shows only the moments of the scrapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector


class Running(Collector):
    def __init__(self, model: str, clock: Callable[[], float]) -> None:
        self._model, self._clock = model, clock
        self._number, self._seconds, self._since = 0, 0.0, clock()

    def change(self, number: int) -> None:
        """The engine has this many responses more, or less if it is negative."""
        now = self._clock()
        self._seconds += self._number * (now - self._since)
        self._number, self._since = self._number + number, now

    def collect(self) -> Iterator[CounterMetricFamily]:
        self.change(0)
        family = CounterMetricFamily(
            "slipway_engine_response_seconds",
            "Time that the engine had each of the responses that it computes. The rate is their mean number.",
            labels=["model_name"],
        )
        family.add_metric([self._model], self._seconds)
        yield family
