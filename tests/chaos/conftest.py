"""The starting point of fault tests: an operator behind a fault-injecting proxy, and models that have converged."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from slipway_devcluster import model
from slipway_devcluster.cluster import Cluster
from support.builders.llmdeployments import GEMMA_CLAIM
from support.cluster import AnyCluster, Kube, Settings, folder_claimed, installation
from support.cluster.fixtures import NO_IMAGE, kubectl_for
from support.faults import convergence, replicas
from support.faults.replicas import Replica
from support.load.fleet import Fleet


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.slow)


def pytest_report_header(config: pytest.Config) -> str:
    return f"random faults: --seed={config.getoption('seed')} draws the same ones again"


@pytest.fixture
def chance(pytestconfig: pytest.Config) -> random.Random:
    return random.Random(pytestconfig.getoption("seed"))


@pytest.fixture(scope="session")
def node(cluster: AnyCluster, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """A cluster whose parts can be killed, with all that the operator needs except an image: models stay at zero."""
    node = cluster.devcluster()
    kube = kubectl_for(node, tmp_path_factory)
    asyncio.run(installation.install(kube, NO_IMAGE))
    return node


@pytest.fixture
async def replica(node: Cluster, tmp_path: Path) -> AsyncIterator[Replica]:
    """The only operator, so it is the leader."""
    async with replicas.replica(node.kubeconfig, tmp_path) as replica:
        yield replica


@pytest.fixture
async def fleet(kube: Kube, replica: Replica, chance: random.Random) -> Fleet:
    fleet = Fleet(kube, chance)
    await fleet.create(5)
    await convergence.until_converged(kube, within=90)
    return fleet


@pytest.fixture
async def gemma(operator_pods: Cluster, neighbour_kube: Kube, settings: Settings) -> AsyncIterator[Kube]:
    """A namespace with the demo model's files, on a cluster where all of Slipway runs as pods."""
    weights = model.ensure_gguf(settings.cache, settings.steps)
    async with folder_claimed(neighbour_kube, GEMMA_CLAIM, weights):
        yield neighbour_kube
