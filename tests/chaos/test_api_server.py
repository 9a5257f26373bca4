"""The API server or etcd stops and comes back."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from slipway_devcluster.cluster import Cluster
from support.cluster import Kube
from support.faults import components, convergence, replicas
from support.faults.api_faults import Cuts, Hangs
from support.faults.faulty_path import faulty_path
from support.faults.replicas import Replica
from support.load.fleet import Fleet
from support.programs import operator

STEADY_AGAIN = 480.0
"""Seconds: KServe's controller exits with the API server. The kubelet waits up to five minutes before it restarts a
container that has ended several times, as in these tests, and the controller counts as down until it ran for two."""


@pytest.mark.timeout(700, func_only=True)
@pytest.mark.parametrize("seconds", [0, 20])
async def test_an_api_server_killed_during_many_writes_loses_none(
    node: Cluster, kube: Kube, replica: Replica, fleet: Fleet, seconds: float
) -> None:
    await fleet.create(20)
    async with components.without(node, "kube-apiserver", killed=True):
        await asyncio.sleep(seconds)
    await convergence.until_converged(kube, within=STEADY_AGAIN)
    await convergence.stays_still(kube, replica.path, seconds=3)
    assert not replicas.unlawful_writes(kube.namespace, replica.path)


@pytest.mark.timeout(700, func_only=True)
async def test_an_outage_of_etcd_for_30_seconds_loses_nothing(
    node: Cluster, kube: Kube, replica: Replica, fleet: Fleet
) -> None:
    await fleet.create(10)
    async with components.without(node, "etcd", killed=True):
        await asyncio.sleep(30)
    await convergence.until_converged(kube, within=STEADY_AGAIN)
    await convergence.stays_still(kube, replica.path, seconds=3)
    assert not replicas.unlawful_writes(kube.namespace, replica.path)


@pytest.mark.parametrize("kind", [Cuts, Hangs])
async def test_an_operator_without_an_api_server_is_live_but_not_ready_until_there_is_one(
    node: Cluster, tmp_path: Path, kind: type[Cuts | Hangs]
) -> None:
    fault = kind()
    async with faulty_path(node.kubeconfig, tmp_path) as (path, kubeconfig), AsyncExitStack() as stack:
        with path.broken_by(fault):
            slipway = await stack.enter_async_context(replicas.in_thread(operator.started(kubeconfig)))
            await path.until(lambda: fault.count > 5)
            code, text = await asyncio.to_thread(slipway.get, "/readyz")
            assert (code, "not yet listed: LLMDeployment" in text) == (503, True)
            assert (await asyncio.to_thread(slipway.get, "/livez"))[0] == 200
        await asyncio.to_thread(slipway.is_ready, within=30)
        await asyncio.to_thread(slipway.leads)
