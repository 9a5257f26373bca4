"""The runtime's own metrics in Prometheus' format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from slipway_runtime.compiled.cache import Report
from slipway_runtime.contract.pod import COMPILE_CACHE_STATES
from slipway_runtime.control import Counts
from slipway_runtime.supervisor.phases import PhaseRecorder
from slipway_runtime.supervisor.state import PodState
from slipway_runtime.supervisor.usage import ready_seconds


class _Once(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def own_metrics(
    *,
    labels: dict[str, str],
    state: PodState,
    phases: PhaseRecorder,
    counts: Counts,
    silence: float,
    scraped: bool,
    dropped: int,
    compiled: Report,
) -> str:
    prefix = "slipway_runtime_"
    info = GaugeMetricFamily(prefix + "info", "The runtime and its engine.", labels=list(labels))
    info.add_metric(list(labels.values()), 1)
    states = GaugeMetricFamily(prefix + "state", "1 for the state that the pod is in.", labels=["state"])
    for each in PodState:
        states.add_metric([each], float(each is state))
    reached = GaugeMetricFamily(
        prefix + "phase_seconds", "When a phase was reached, in seconds since the process started.", labels=["phase"]
    )
    for moment in phases.moments:
        reached.add_metric([moment.name], moment.seconds)
    single = [
        GaugeMetricFamily(
            prefix + "requests_in_flight", "Requests that were accepted and are not answered yet.", counts.in_flight
        ),
        GaugeMetricFamily(prefix + "guards", "Processes of the engine that answer requests.", counts.guards),
        GaugeMetricFamily(prefix + "engine_silence_seconds", "Seconds since the engine's last sign of life.", silence),
        GaugeMetricFamily(
            prefix + "engine_scraped", "1 if this scrape contains the engine's own metrics.", float(scraped)
        ),
        CounterMetricFamily(prefix + "busy_seconds", "Seconds with at least one request in flight.", counts.busy),
        CounterMetricFamily(
            prefix + "ready_seconds",
            "Seconds in which the pod was ready.",
            ready_seconds(phases.moments, phases.seconds),
        ),
        CounterMetricFamily(
            prefix + "output_lines_dropped",
            "Lines of output that were dropped because the log was not read in time.",
            dropped,
        ),
    ]
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once([info, states, reached, *single, *_of_the_compile_cache(prefix, compiled)]))
    return generate_latest(registry).decode()


def _of_the_compile_cache(prefix: str, report: Report) -> Iterator[Metric]:
    """Yields seconds and sizes as far as they are known."""
    states = GaugeMetricFamily(
        prefix + "compile_cache_state", "1 for what became of the compile cache.", labels=["state"]
    )
    for each in COMPILE_CACHE_STATES:
        states.add_metric([each], float(each == report.state))
    yield states
    for name, meaning, value in (
        ("bytes", "Size of the entry that was read or published.", report.bytes),
        ("read_seconds", "Time that reading the entry took.", report.read_seconds),
        ("publish_seconds", "Time that publishing the entry took, while the engine served.", report.publish_seconds),
        ("compile_seconds", "Time from the loaded weights to the end of the profile run.", report.compile_seconds),
        ("new_files", "Files that this start has compiled.", report.new_files),
    ):
        if value is not None:
            yield GaugeMetricFamily(f"{prefix}compile_cache_{name}", meaning, value)
