"""A cluster with all of Slipway as pods, monitored by a real Prometheus with the rules of the chart.

values.yaml makes the alerts quick: short windows, small thresholds. What the alerts are about is real.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import yaml
from slipway_devcluster import model
from slipway_devcluster.cluster import Cluster
from support.builders.llmdeployments import GEMMA_CLAIM
from support.cluster import AnyCluster, Kube, Settings, folder_claimed
from support.cluster.fixtures import kubectl_for
from support.monitoring import programs
from support.monitoring.installed import PROGRAMS, install
from support.monitoring.on_cluster import ClusterMonitoring, monitored

VALUES = Path(__file__).with_name("values.yaml")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives windows of some minutes the time to pass, where a test doesn't say how long it takes."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(900, func_only=True))


@pytest.fixture(scope="session")
def node(cluster: AnyCluster, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """The cluster, with all of Slipway as pods."""
    node = cluster.devcluster()
    install(node, kubectl_for(node, tmp_path_factory), settings, yaml.safe_load(VALUES.read_text()))
    return node


@pytest.fixture(scope="session")
def alerts(node: Cluster, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterMonitoring]:
    """Prometheus and Alertmanager; they are the same for all tests, as in a cluster of people."""
    kube = kubectl_for(node, tmp_path_factory)
    found = programs.ensure(settings.cache, settings.steps)
    with monitored(node, kube, found, tmp_path_factory.mktemp("monitoring")) as alerts:
        asyncio.run(alerts.follow())
        alerts.own.until(lambda: alerts.own.value("count(up == 1)") == PROGRAMS, within=60, what="scraping Slipway")
        yield alerts


@pytest.fixture
async def gemma_kube(kube: Kube, settings: Settings) -> AsyncIterator[Kube]:
    """The namespace of the test, with the demo model as the claim `gemma`."""
    weights = model.ensure_gguf(settings.cache, settings.steps)
    async with folder_claimed(kube, GEMMA_CLAIM, weights):
        yield kube


@pytest.fixture(scope="session")
def empty_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that pods can read, for a model whose files are gone."""
    folder = tmp_path_factory.mktemp("empty")
    folder.chmod(0o755)
    return folder
