"""The metrics of one program: one prefix for all names, and the page that Prometheus reads, written in small steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from slipway.process.exposition import Description, ObjectMetrics

LINES_PER_STEP = 100  # of the page: one step takes some 0.7 ms
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)  # seconds

Readings = Mapping[tuple[str, ...], float]
"""The values of a gauge, by the values of its labels."""


class MetricsRegistry:
    """Lives as long as the program; each test makes its own, so that no two tests share a counter.

    `prefix`: the first word of all names.
    """

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self.collectors = CollectorRegistry()
        self.descriptions: list[Description] = []
        self._of_objects: list[ObjectMetrics[Any]] = []

    def counter(self, name: str, help_: str, *labels: str) -> Counter:
        full_name = self._described(f"{name}_total", "counter", labels, help_)
        return Counter(full_name, help_, labels, registry=self.collectors)

    def gauge(self, name: str, help_: str) -> Gauge:
        return Gauge(self._described(name, "gauge", (), help_), help_, registry=self.collectors)

    def histogram(self, name: str, help_: str, *labels: str) -> Histogram:
        """Of seconds."""
        full_name = self._described(name, "histogram", labels, help_)
        return Histogram(full_name, help_, labels, registry=self.collectors, buckets=BUCKETS)

    def read_gauge(self, name: str, help_: str, labels: tuple[str, ...], read: Callable[[], Readings]) -> None:
        """A gauge whose labels appear and disappear: `read` is called when Prometheus reads the page."""
        self.collectors.register(_ReadGauge(self._described(name, "gauge", labels, help_), help_, labels, read))

    def add_of_objects(self, metrics: ObjectMetrics[Any]) -> None:
        """Metrics that each of very many objects has, under their full names."""
        self._of_objects.append(metrics)
        self.descriptions.extend(metrics.metrics)

    def page(self) -> bytes:
        return b"".join(self.page_in_steps())

    def page_in_steps(self) -> Iterator[bytes]:
        """The same page in pieces, none of which takes long to write."""
        for family in self.collectors.collect():
            yield from _in_steps(family)
        for metrics in self._of_objects:
            yield from metrics.in_steps()

    def _described(self, name: str, kind: str, labels: tuple[str, ...], help_: str) -> str:
        full_name = f"{self._prefix}_{name}" if self._prefix else name
        self.descriptions.append(Description(full_name, kind, labels, help_))
        return full_name


class _ReadGauge(Collector):
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
    """Some samples of a family."""

    def __init__(self, family: Metric, samples: slice) -> None:
        self._part = Metric(family.name, family.documentation, family.type)
        self._part.samples = family.samples[samples]

    def collect(self) -> Iterable[Metric]:
        return [self._part]


def _in_steps(family: Metric) -> Iterator[bytes]:
    """Only gauges have a line for each of very many objects, and no line that must follow all others."""
    many = len(family.samples) if family.type == "gauge" else 0
    for begin in range(0, max(many, 1), LINES_PER_STEP):
        part = slice(begin, begin + LINES_PER_STEP) if many else slice(None)
        text = generate_latest(_Part(family, part))
        yield text if begin == 0 else text.split(b"\n", 2)[2]  # its help and type precede the first piece alone
