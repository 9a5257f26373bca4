"""What Prometheus is told of calls, watches and the loop. One registry for each of these, so that tests share none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

AT_ONCE = 100  # lines of a text that are written in one step: some 0.7 ms
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

Readings = Mapping[tuple[str, ...], float]


class Description(NamedTuple):
    """For the documentation."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str


class WatchMetrics:
    """Of a process that asks the API server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.descriptions: list[Description] = []
        self.api_calls = self._counter("api_calls", "Calls to the API server, each try counted", "verb", "kind", "code")
        self.api_call_seconds = self._histogram("api_call_seconds", "How long the API server took", "verb", "kind")
        self.watch_restarts = self._counter("watch_restarts", "All watches begun anew", "reason")

    def text(self) -> bytes:
        return b"".join(self.text_in_steps())

    def text_in_steps(self) -> Iterator[bytes]:
        """The same, of which no piece takes long to write."""
        for family in self.registry.collect():
            yield from _in_steps(family)

    def count_call(self, verb: str, kind: str, code: int | None, seconds: float) -> None:
        """`code`: None where no answer came."""
        self.api_calls.labels(verb, kind, "none" if code is None else str(code)).inc()
        self.api_call_seconds.labels(verb, kind).observe(seconds)

    def watch_ages(self, read: Callable[[], Mapping[str, float]]) -> None:
        help_ = "Seconds since the cache of a kind was last seen to be up to date"
        self._read("watch_age_seconds", help_, ("kind",), lambda: _by_one(read()))

    def add(self, collector: Collector, descriptions: Iterable[Description]) -> None:
        """What somebody else counts."""
        self.registry.register(collector)
        self.descriptions.extend(descriptions)

    def _counter(self, name: str, help_: str, *labels: str) -> Counter:
        return Counter(self._named(f"{name}_total", "counter", labels, help_), help_, labels, registry=self.registry)

    def _gauge(self, name: str, help_: str) -> Gauge:
        return Gauge(self._named(name, "gauge", (), help_), help_, registry=self.registry)

    def _histogram(self, name: str, help_: str, *labels: str) -> Histogram:
        full_name = self._named(name, "histogram", labels, help_)
        return Histogram(full_name, help_, labels, registry=self.registry, buckets=SECONDS)

    def _read(self, name: str, help_: str, labels: tuple[str, ...], read: Callable[[], Readings]) -> None:
        self.registry.register(_Read(self._named(name, "gauge", labels, help_), help_, labels, read))

    def _named(self, name: str, kind: str, labels: tuple[str, ...], help_: str) -> str:
        self.descriptions.append(Description(f"slipway_{name}", kind, labels, help_))
        return f"slipway_{name}"


class Metrics(WatchMetrics):
    """Of one that works on objects as well."""

    def __init__(self) -> None:
        super().__init__()
        self.reconciles = self._counter("reconciles", "Objects worked on, by how it went", "result")
        self.reconcile_seconds = self._histogram("reconcile_seconds", "How long one took", "result")
        self.queue_retries = self._counter("queue_retries", "Objects to be worked on again because it failed")
        self.leader = self._gauge("leader", "1 while this replica is the leader")

    def count_reconcile(self, result: str, seconds: float) -> None:
        self.reconciles.labels(result).inc()
        self.reconcile_seconds.labels(result).observe(seconds)

    def watch_queue(self, *, depth: Callable[[], float], oldest: Callable[[], float]) -> None:
        """Both are asked for when Prometheus asks."""
        self._gauge("queue_depth", "Objects that wait to be worked on").set_function(depth)
        self._gauge("queue_oldest_seconds", "How long the first of them has waited").set_function(oldest)

    def watch_objects(self, read: Callable[[], Readings]) -> None:
        """How many deployments there are, by state and reason."""
        help_ = "LLMDeployments, by their state and its reason"
        self._read("llmdeployments", help_, ("state", "reason"), read)


class _Read(Collector):
    """A gauge whose labels come and go: all of it is read when Prometheus asks."""

    def __init__(self, name: str, help_: str, labels: tuple[str, ...], read: Callable[[], Readings]) -> None:
        self._name, self._help, self._labels, self._read = name, help_, labels, read

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return [GaugeMetricFamily(self._name, self._help, labels=self._labels)]

    def collect(self) -> Iterable[GaugeMetricFamily]:
        family = GaugeMetricFamily(self._name, self._help, labels=self._labels)
        for labels, value in self._read().items():
            family.add_metric(labels, value)
        return [family]


class _Part(Collector):
    """Of a family, some samples."""

    def __init__(self, family: Metric, samples: slice) -> None:
        self._part = Metric(family.name, family.documentation, family.type)
        self._part.samples = family.samples[samples]

    def collect(self) -> Iterable[Metric]:
        return [self._part]


def _in_steps(family: Metric) -> Iterator[bytes]:
    """Gauges alone have a line for each of very many objects, and nothing that has to stand behind all others."""
    many = len(family.samples) if family.type == "gauge" else 0
    for begin in range(0, max(many, 1), AT_ONCE):
        part = slice(begin, begin + AT_ONCE) if many else slice(None)
        text = generate_latest(_Part(family, part))
        yield text if begin == 0 else text.split(b"\n", 2)[2]  # what it is, stands before the first


def _by_one(readings: Mapping[str, float]) -> Readings:
    return {(label,): value for label, value in readings.items()}
