"""A cluster with all of Slipway as pods, monitored by a real Prometheus with the rules of the chart.

values.yaml makes the alerts quick: short windows, small thresholds. What the alerts are about is real.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from slipway_devcluster import model
from slipway_devcluster.cluster import Cluster
from support.builders.llmdeployments import GEMMA_CLAIM
from support.cluster import AnyCluster, Kube, Settings, folder_claimed
from support.cluster.fixtures import kubectl_for
from support.monitoring.installed import install, monitored_slipway
from support.monitoring.on_cluster import ClusterMonitoring


@pytest.fixture(scope="session")
def node(cluster: AnyCluster, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """The cluster, with all of Slipway as pods."""
    node = cluster.devcluster()
    install(node, kubectl_for(node, tmp_path_factory), settings)
    return node


@pytest.fixture(scope="session")
def alerts(node: Cluster, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterMonitoring]:
    """Prometheus and Alertmanager; they are the same for all tests, as in a cluster of people."""
    kube = kubectl_for(node, tmp_path_factory)
    with monitored_slipway(node, kube, settings, tmp_path_factory.mktemp("monitoring")) as alerts:
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
