"""What is counted of calls to the API server, of watches, of the work queue and of the leader election."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from slipway.process.metrics import MetricsRegistry


class WatchMetrics:
    """Of a program that calls the API server and watches."""

    def __init__(self, registry: MetricsRegistry) -> None:
        self._registry = registry
        self.api_calls = registry.counter(
            "api_calls", "Calls to the API server, each try counted", "verb", "kind", "code"
        )
        self.api_call_seconds = registry.histogram("api_call_seconds", "How long the API server took", "verb", "kind")
        self.watch_restarts = registry.counter("watch_restarts", "Restarts of all watches", "reason")

    def count_call(self, verb: str, kind: str, code: int | None, seconds: float) -> None:
        """`code`: None where no answer arrived."""
        self.api_calls.labels(verb, kind, "none" if code is None else str(code)).inc()
        self.api_call_seconds.labels(verb, kind).observe(seconds)

    def watch_ages(self, read: Callable[[], Mapping[str, float]]) -> None:
        """`read`: the age of each kind's cache, called when Prometheus reads the page."""
        help_ = "Seconds since the cache of a kind was last seen to be up to date, of kinds that are audited"
        self._registry.read_gauge(
            "watch_age_seconds", help_, ("kind",), lambda: {(kind,): age for kind, age in read().items()}
        )

    def unfilled_caches(self, read: Callable[[], float]) -> None:
        help_ = "Kinds whose objects are not all known yet: before they are, nothing is reconciled or held"
        self._registry.gauge("unfilled_caches", help_).set_function(read)


class QueueMetrics:
    """Of a work queue. `depth` and `oldest` are called when Prometheus reads the page."""

    def __init__(self, registry: MetricsRegistry) -> None:
        self._registry = registry
        self.reconciles = registry.counter("reconciles", "Reconciles, by their result", "result")
        self.reconcile_seconds = registry.histogram("reconcile_seconds", "How long one reconcile took", "result")
        self.retries = registry.counter("queue_retries", "Objects queued again because their reconcile failed")

    def count_reconcile(self, result: str, seconds: float) -> None:
        self.reconciles.labels(result).inc()
        self.reconcile_seconds.labels(result).observe(seconds)

    def watch_queue(self, *, depth: Callable[[], float], oldest: Callable[[], float]) -> None:
        help_ = "Objects that wait for their reconcile; none on a standby"
        self._registry.gauge("queue_depth", help_).set_function(depth)
        self._registry.gauge("queue_oldest_seconds", "How long the first of them has waited").set_function(oldest)


class LeaderMetrics:
    """Of the leader election."""

    def __init__(self, registry: MetricsRegistry) -> None:
        self.leader = registry.gauge("leader", "1 while this replica is certainly the leader, 0 while it isn't")
