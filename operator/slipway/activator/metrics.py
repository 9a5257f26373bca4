"""What Prometheus is told of the activator's own work: read from the data path when it asks, so a request pays nothing.

A deployment has a number for as long as something waits for it, and there are thousands for which nothing does. What
only ever counts up bears no deployment's name. So there are never more series than requests that can be held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from slipway.activator.proxy.admission import GlobalLimits
from slipway.activator.shared.demand import Demand
from slipway.kube.metrics import Description

HELD = Description("slipway_activator_held", "gauge", ("namespace", "name"), "Requests that wait here, if any do")
HELD_BYTES = Description("slipway_activator_held_bytes", "gauge", (), "Bytes that requests take, of --max-bytes")
COMING = Description("slipway_activator_coming", "gauge", (), "Requests whose bodies are still on their way")
CONNECTIONS = Description("slipway_activator_connections", "gauge", (), "Open connections of clients")
PEERS = Description("slipway_activator_peers", "gauge", (), "Other replicas of the activator that are heard")
WAKES = Description("slipway_activator_wakes_total", "counter", (), "Wakes that were begun by a request here")
FORWARDED = Description("slipway_activator_forwarded_total", "counter", (), "Requests sent to a replica, each once")
RETRIES = Description("slipway_activator_retries_total", "counter", (), "Requests sent again, after a try that failed")
REFUSED = Description(
    "slipway_activator_refused_total",
    "counter",
    ("reason",),
    "Requests refused, by the error's code, and connections closed without one, by why",
)
DESCRIPTIONS = (HELD, HELD_BYTES, COMING, CONNECTIONS, PEERS, WAKES, FORWARDED, RETRIES, REFUSED)


class ActivatorMetrics(Collector):
    """`own`: what is wanted here, without what other replicas count."""

    def __init__(
        self, house: GlobalLimits, own: Demand, *, connections: Callable[[], float], peers: Callable[[], float]
    ) -> None:
        self._house, self._own = house, own
        self._connections, self._peers = connections, peers

    def describe(self) -> Iterable[Metric]:
        return [_family(each, {}) for each in DESCRIPTIONS]

    def collect(self) -> Iterable[Metric]:
        tally = self._house.tally
        yield _family(HELD, {deployment: wanted.waiting for deployment, wanted in self._own.items() if wanted.waiting})
        yield _family(REFUSED, {(reason,): number for reason, number in tally.refused.items()})
        for description, value in (
            (HELD_BYTES, self._house.bytes.taken),
            (COMING, self._house.coming.taken),
            (CONNECTIONS, self._connections()),
            (PEERS, self._peers()),
            (WAKES, tally.wakes),
            (FORWARDED, tally.forwarded),
            (RETRIES, tally.retries),
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
