"""Faults between the operator and the API server cost a moment, and lose nothing: the quick ones.

The slow ones, and random sequences of all of them, are in tests/chaos.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from support.cluster import AnyCluster, Kube, Neighbour, own_namespace
from support.faults import components, convergence, replicas
from support.faults.api_faults import Cuts, Expires, Fault, LosesAnswers, Refuses, but_the_lease, writes
from support.faults.replicas import Replica
from support.load.fleet import Fleet

pytestmark = pytest.mark.asyncio(loop_scope="module")

SEED = 4
FAULTS: dict[str, Fault] = {
    "429": Refuses(code=429, retry_after=1, rate=0.5, on=but_the_lease),
    "503": Refuses(code=503, rate=0.8, on=but_the_lease),
    "connections cut": Cuts(rate=0.5, on=but_the_lease),
    "answers lost": LosesAnswers(rate=0.5, on=writes),
    "410": Expires(),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kube(installed_cluster: Kube) -> AsyncIterator[Kube]:
    async with own_namespace(installed_cluster) as kube:
        yield kube


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replica(cluster: AnyCluster, kube: Kube, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Replica]:
    if cluster.kubeconfig is None:
        pytest.skip("a faulty path needs the file of a kubeconfig")
    async with replicas.replica(cluster.kubeconfig, tmp_path_factory.mktemp("path")) as replica:
        yield replica


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(kube: Kube, replica: Replica) -> Fleet:
    fleet = Fleet(kube, random.Random(SEED))
    await fleet.create(4)
    await convergence.until_converged(kube, within=90)
    return fleet


@pytest.mark.parametrize("fault", FAULTS)
async def test_changes_during_a_fault_are_carried_out_completely_and_once(
    kube: Kube, replica: Replica, fleet: Fleet, fault: str
) -> None:
    with replica.path.broken_by(FAULTS[fault]):
        replica.path.cut_watches()
        for _ in range(3):
            await fleet.change()
    assert FAULTS[fault].count
    await convergence.until_converged(kube, within=90)
    await convergence.stays_still(kube, replica.path, seconds=1)
    assert not replicas.repeated_writes(kube.namespace, replica.path)
    assert not replicas.unlawful_writes(kube.namespace, replica.path)


async def test_a_field_that_another_manager_takes_by_force_is_taken_back(
    kube: Kube, replica: Replica, fleet: Fleet
) -> None:
    """Waits until the change is in a child and in the status."""
    name = fleet.names[0]
    await fleet.apply_as_a_rival(name)
    await convergence.until_converged(kube, within=90)
    await convergence.stays_still(kube, replica.path, seconds=1)


@pytest.mark.slow
async def test_a_restart_of_the_api_server_loses_no_change(
    neighbour: Neighbour, installed_neighbour: Kube, tmp_path: Path
) -> None:
    """KServe waits most of a minute if the API server doesn't serve its kinds yet when KServe requests them."""
    async with (
        own_namespace(installed_neighbour) as kube,
        replicas.replica(neighbour.cluster.kubeconfig, tmp_path) as replica,
    ):
        fleet = Fleet(kube, random.Random(SEED))
        await fleet.create(3)
        async with components.without(neighbour.cluster, "kube-apiserver", killed=True):
            pass
        await fleet.change_everything()
        await convergence.until_converged(kube, within=150)
        assert not replicas.unlawful_writes(kube.namespace, replica.path)
