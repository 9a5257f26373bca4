"""A Prometheus with the rules of the chart for a model's pod that is a process of this machine, without a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from slipway_devcluster.paths import default_cache
from slipway_devcluster.progress import Steps

from support.charts.helm import rendered
from support.monitoring import programs
from support.monitoring.installed import quick_alerts
from support.monitoring.on_cluster import quick
from support.monitoring.prometheus import Monitoring, monitoring
from support.programs.engine_pod import EnginePod


@contextmanager
def monitored_pod(pod: EnginePod, labels: Mapping[str, str], folder: Path) -> Iterator[Monitoring]:
    """`labels`: those that the PodMonitor of a model adds."""
    cache = default_cache()
    values = {"monitoring": quick_alerts()["monitoring"]}
    [rule] = [each for each in rendered("slipway", values) if each["kind"] == "PrometheusRule"]
    scrapes = [{"job_name": "models", "static_configs": [{"targets": [f"127.0.0.1:{pod.port}"], "labels": {**labels}}]}]
    rules = {"slipway.yaml": quick(rule["spec"])}
    with monitoring(programs.ensure(cache, Steps(cache)), folder, rules=rules, scrapes=scrapes) as own:
        yield own
