"""All of Slipway as pods of a devcluster that has the types of the Prometheus operator, with quick alerts; and what
monitors it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from slipway_devcluster import slipway as installation
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.components import SLIPWAY_NAMESPACE

from support.builders.llmdeployments import merged
from support.builders.objects import Object
from support.cluster.clusters import Settings
from support.cluster.kube import Kube
from support.cluster.releases import rolled_out
from support.monitoring import programs
from support.monitoring.on_cluster import ClusterMonitoring, install_kinds, monitored
from support.repository import CHARTS, ROOT

PROGRAMS = 4
"""Pods of Slipway: two operators and two activators."""


def quick_alerts() -> Object:
    """Values of the chart: short windows and small thresholds."""
    values: Object = yaml.safe_load((ROOT / "tests/alerts/values.yaml").read_text())
    return values


def install(node: Cluster, kube: Kube, settings: Settings) -> None:
    asyncio.run(install_kinds(kube))
    installation.prepare(node, cache=settings.cache, steps=settings.steps)
    archive = installation.OPERATOR_IMAGE.built(settings.cache, settings.steps)
    whole = merged(installation.values_with(archive.name), quick_alerts())
    release = ["slipway", str(CHARTS / "slipway"), f"--namespace={SLIPWAY_NAMESPACE}", "--take-ownership"]
    node.run_helm(["upgrade", "--install", *release, "--values=-"], json.dumps(whole).encode())
    asyncio.run(rolled_out(kube.within(SLIPWAY_NAMESPACE)))


@contextmanager
def monitored_slipway(node: Cluster, kube: Kube, settings: Settings, folder: Path) -> Iterator[ClusterMonitoring]:
    """Prometheus and Alertmanager, from when they scrape all programs of `install`."""
    found = programs.ensure(settings.cache, settings.steps)
    with monitored(node, kube, found, folder) as alerts:
        asyncio.run(alerts.follow())
        alerts.own.until(lambda: alerts.own.value("count(up == 1)") == PROGRAMS, within=60, what="scraping Slipway")
        yield alerts
