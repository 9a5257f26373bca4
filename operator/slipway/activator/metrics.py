"""The activator's own metrics, read from the proxy when Prometheus scrapes them: they cost a request nothing.

A model has a series while requests wait for it, and for thousands of models none do. Counters have no label for the
model. So there are never more series than requests that can be held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from slipway.activator.proxy.admission import GlobalLimits
from slipway.activator.shared.demand import Demand
from slipway.process.exposition import Description

HELD = Description(
    "slipway_activator_held", "gauge", ("namespace", "llmdeployment"), "Requests that wait for a replica, if any do"
)
HELD_BYTES = Description("slipway_activator_held_bytes", "gauge", (), "Memory that requests take, of --max-bytes")
ARRIVING = Description("slipway_activator_coming", "gauge", (), "Requests whose bodies are still being received")
CONNECTIONS = Description("slipway_activator_connections", "gauge", (), "Open connections of clients")
PEERS = Description("slipway_activator_peers", "gauge", (), "Other replicas of the activator whose demand is received")
WAKES = Description("slipway_activator_wakes_total", "counter", (), "Wakes that a request here has started")
FORWARDED = Description("slipway_activator_forwarded_total", "counter", (), "Requests sent to a replica, each once")
RETRIES = Description("slipway_activator_retries_total", "counter", (), "Requests sent again after a failed try")
REFUSED = Description(
    "slipway_activator_refused_total",
    "counter",
    ("reason",),
    "Requests refused, by the code of the error, and connections closed without a response, by the reason",
)
DESCRIPTIONS = (HELD, HELD_BYTES, ARRIVING, CONNECTIONS, PEERS, WAKES, FORWARDED, RETRIES, REFUSED)


class ActivatorMetrics(Collector):
    """`own`: the demand here, without that of other replicas."""

    def __init__(
        self, limits: GlobalLimits, own: Demand, *, connections: Callable[[], float], peers: Callable[[], float]
    ) -> None:
        self._limits, self._own = limits, own
        self._connections, self._peers = connections, peers

    def describe(self) -> Iterable[Metric]:
        return [_family(each, {}) for each in DESCRIPTIONS]

    def collect(self) -> Iterable[Metric]:
        counters = self._limits.counters
        yield _family(HELD, {key: demand.waiting for key, demand in self._own.items() if demand.waiting})
        yield _family(REFUSED, {(reason,): number for reason, number in counters.refused.items()})
        for description, value in (
            (HELD_BYTES, self._limits.bytes.taken),
            (ARRIVING, self._limits.arriving.taken),
            (CONNECTIONS, self._connections()),
            (PEERS, self._peers()),
            (WAKES, counters.wakes),
            (FORWARDED, counters.forwarded),
            (RETRIES, counters.retries),
        ):
            yield _family(description, {(): value})


def _family(description: Description, values: Mapping[tuple[str, ...], float]) -> Metric:
    kind = CounterMetricFamily if description.kind == "counter" else GaugeMetricFamily
    family: GaugeMetricFamily | CounterMetricFamily = kind(
        description.name, description.help, labels=description.labels
    )
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family
