"""The activator's own metrics, read from the proxy when Prometheus scrapes them: they cost a request next to nothing.

A model has series while requests wait for it, and some more once a request was held or refused; of those, `counters`
keeps no more than a page can take. No label has a value that a client or a tenant can choose, but for the names of
LLMDeployments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from slipway.activator.keda.calls import KedaCalls
from slipway.activator.proxy.admission import GlobalLimits
from slipway.activator.proxy.counters import HOLD_BOUNDS, MOST_MODELS, ModelCounters, ProxyCounters
from slipway.activator.proxy.open_files import OpenFiles
from slipway.activator.shared.demand import Demand, ModelDemand
from slipway.api.model_key import ModelKey
from slipway.observing.objectives import FIELDS
from slipway.observing.scaling_step import Followed
from slipway.process.exposition import Description, Distribution, ObjectMetrics, Sample
from slipway.process.metrics import MetricsRegistry

OF_MODEL = ("namespace", "llmdeployment")
NO_MODEL = ModelKey("", "")  # those that have no series of their own


def _gauge(name: str, help_: str, *labels: str) -> Description:
    return Description(f"slipway_activator_{name}", "gauge", labels, help_)


def _counter(name: str, help_: str, *labels: str) -> Description:
    return Description(f"slipway_activator_{name}_total", "counter", labels, help_)


HELD = _gauge("held", "Requests that wait for a replica, if any do", *OF_MODEL)
OLDEST = _gauge("oldest_hold_seconds", "How long the first of them has waited", *OF_MODEL)
HOLDS = Description(
    "slipway_activator_hold_seconds",
    "histogram",
    OF_MODEL,
    f"How long requests waited that a replica has answered. At most {MOST_MODELS} models that have held or refused "
    "requests have series of their own; those of the rest have empty names",
)
REFUSED = _counter(
    "refused",
    "Requests refused, by the code of the error, and connections closed without a response, by the reason; of as many "
    "models",
    *OF_MODEL,
    "reason",
)
IN_REST = _counter("counted_together", "Holds and refusals that were counted under empty names, for want of a place")
WANTED = _gauge("wanted_replicas", "Replicas that a model needs, where they follow times (scaling.target)", *OF_MODEL)
FOLLOWED = _gauge(
    "followed_seconds",
    "The time that decides it, by its name in scaling.target: the 95th percentile of all replicas in the last minutes, "
    "where there were enough requests",
    *OF_MODEL,
    "target",
)
HELD_BYTES = _gauge("held_bytes", "Memory that requests take, of --max-bytes")
ARRIVING = _gauge("coming", "Requests whose bodies are still being received")
CONNECTIONS = _gauge("connections", "Open connections of clients")
PEERS = _gauge("peers", "Other replicas of the activator whose demand is received")
WAKES = _counter("wakes", "Wakes that a request here has started")
FORWARDED = _counter("forwarded", "Requests sent to a replica, each once")
RETRIES = _counter("retries", "Requests sent again after a failed try")
USED = _gauge(
    "used_ratio",
    "The share of each limit that is taken: held requests, bytes, requests that arrive (arriving), connections of "
    "clients, open files, connections of KEDA and other replicas (keda_connections)",
    "limit",
)
KEDA_CALLS = _counter("keda_calls", "Calls of KEDA's service that have ended, streams included, by gRPC's code", "code")
KEDA_STREAMS = _gauge("keda_streams", "Streams that KEDA has open: two for each ScaledObject of a model")
KEDA_AGE = _gauge(
    "keda_last_call_age_seconds", "Seconds since a call of KEDA was last answered, or since the start if none was yet"
)
WAITING = (HELD, OLDEST)
FOLLOWING = (WANTED, FOLLOWED)
OF_MODELS = (HOLDS, REFUSED)
WHOLE = (
    HELD_BYTES,
    ARRIVING,
    CONNECTIONS,
    PEERS,
    WAKES,
    FORWARDED,
    RETRIES,
    IN_REST,
    USED,
    KEDA_CALLS,
    KEDA_STREAMS,
    KEDA_AGE,
)


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What the metrics are read from. `own`: the demand here, without that of other replicas."""

    limits: GlobalLimits
    own: Demand
    calls: KedaCalls
    peers: Callable[[], float]
    oldest_wait: Callable[[ModelKey], float]
    used_connections: Callable[[], float]
    files: OpenFiles = field(default_factory=OpenFiles)


def add_metrics(registry: MetricsRegistry, sources: Sources) -> None:
    counters = sources.limits.counters
    registry.add_of_objects(ObjectMetrics(WAITING, lambda: _that_wait(sources.own), lambda each: _held(sources, *each)))
    registry.add_of_objects(ObjectMetrics(FOLLOWING, lambda: _that_follow(sources.own), lambda each: _followed(*each)))
    registry.add_of_objects(ObjectMetrics(OF_MODELS, lambda: _counted(counters), lambda each: _events(*each)))
    registry.add_of_objects(ObjectMetrics(WHOLE, lambda: (sources,), _whole))


def _that_wait(own: Demand) -> list[tuple[ModelKey, int]]:
    return [(key, demand.waiting) for key, demand in own.items() if demand.waiting]


def _held(sources: Sources, key: ModelKey, waiting: int) -> Iterator[Sample]:
    yield Sample(HELD, key, waiting)
    yield Sample(OLDEST, key, sources.oldest_wait(key))


def _that_follow(own: Demand) -> list[tuple[ModelKey, ModelDemand]]:
    return [(key, demand) for key, demand in own.items() if demand.by_times]


def _followed(key: ModelKey, demand: ModelDemand) -> Iterator[Sample]:
    yield Sample(WANTED, key, demand.replicas)
    if demand.by_times and demand.by_times.follows:
        yield Sample(FOLLOWED, (*key, FIELDS[demand.by_times.follows]), demand.by_times.seconds)


def followed_now(own: Demand) -> Iterator[tuple[ModelKey, Followed]]:
    """The same for the operator, which reads it when the number of replicas changes."""
    for key, demand in _that_follow(own):
        if (times := demand.by_times) and times.follows:
            yield key, Followed(FIELDS[times.follows], times.seconds, times.target)


def _counted(counters: ProxyCounters) -> list[tuple[ModelKey, ModelCounters]]:
    return [*counters.models.items(), (NO_MODEL, counters.rest)]


def _events(key: ModelKey, counters: ModelCounters) -> Iterator[Sample]:
    yield Sample(HOLDS, key, Distribution(HOLD_BOUNDS, counters.holds, counters.held_seconds))
    for reason, number in counters.refused.items():
        yield Sample(REFUSED, (*key, reason), number)


def _whole(sources: Sources) -> Iterator[Sample]:
    limits, counters, calls = sources.limits, sources.limits.counters, sources.calls
    for metric, value in (
        (HELD_BYTES, limits.bytes.taken),
        (ARRIVING, limits.arriving.taken),
        (CONNECTIONS, counters.connections),
        (PEERS, sources.peers()),
        (WAKES, counters.wakes),
        (FORWARDED, counters.forwarded),
        (RETRIES, counters.retries),
        (IN_REST, counters.in_rest),
        (KEDA_STREAMS, calls.streams),
        (KEDA_AGE, calls.age),
    ):
        yield Sample(metric, (), value)
    for code, number in calls.by_code.items():
        yield Sample(KEDA_CALLS, (code,), number)
    for limit, used in _used(sources):
        yield Sample(USED, (limit,), used)


def _used(sources: Sources) -> Iterator[tuple[str, float]]:
    limits = sources.limits
    for name, limit in (("requests", limits.requests), ("bytes", limits.bytes), ("arriving", limits.arriving)):
        yield name, limit.taken / limit.total
    yield "connections", sources.used_connections()
    yield "files", sources.files.used()
    yield "keda_connections", sources.calls.used_places()
