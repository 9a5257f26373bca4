"""Two replicas of the operator: one leads, the other takes over, and nothing is done twice."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support.builders.llmdeployments import NAME, at_zero
from support.cluster import AnyCluster, Kube, Operator, children, created, events_with, settled, until_settled
from support.cluster.llmdeployments import until_alone, versions
from support.programs import operator

pytestmark = pytest.mark.usefixtures("installed_cluster")


@contextmanager
def two_replicas(cluster: AnyCluster) -> Iterator[tuple[Operator, Operator]]:
    """Two replicas, of which the first is the leader; the caches of both are filled."""
    with operator.running(cluster.kubeconfig) as leader, operator.started(cluster.kubeconfig) as standby:
        standby.is_ready()
        yield leader, standby


async def leads_after(standby: Operator, number: signal.Signals, leader: Operator) -> float:
    """The seconds from the signal until the other replica leads."""
    start = time.monotonic()
    leader.send(number)
    await asyncio.to_thread(standby.leads)
    return time.monotonic() - start


async def test_after_a_graceful_end_the_standby_leads_within_5_seconds_and_finds_nothing_to_do(
    cluster: AnyCluster, kube: Kube
) -> None:
    with two_replicas(cluster) as (leader, standby):
        await settled(kube, at_zero())
        await until_alone(kube)
        before = await versions(kube)
        assert standby.writes() == {}
        assert await leads_after(standby, signal.SIGTERM, leader) < 5
        assert leader.ended(within=30) == 0
        standby.until(lambda: standby.writes().get(("apply", "InferenceService")))
        assert ("apply-status", "LLMDeployment") not in standby.writes()
        assert await versions(kube) == before


@pytest.mark.slow
async def test_after_a_crash_the_standby_leads_within_20_seconds_and_does_the_rest(
    cluster: AnyCluster, kube: Kube
) -> None:
    with two_replicas(cluster) as (leader, standby):
        leader.send(signal.SIGKILL)
        deployment = await created(kube, at_zero())
        start = time.monotonic()
        await asyncio.to_thread(standby.leads)
        assert time.monotonic() - start < 20
        await until_settled(kube)
        for child in (await children(kube)).values():
            assert child["metadata"]["ownerReferences"][0]["uid"] == deployment["metadata"]["uid"]
        assert await events_with(kube, "Idle") == [("Normal", "Idle")]


async def test_the_standby_writes_nothing_while_the_leader_works(cluster: AnyCluster, kube: Kube) -> None:
    with two_replicas(cluster) as (leader, standby):
        await settled(kube, at_zero())
        await kube.patch("llmdeployment", NAME, {"spec": {"access": {"allowFrom": []}}})
        await until_settled(kube)
        assert leader.writes()["apply", "NetworkPolicy"] >= 2
        assert standby.writes() == {}
        assert standby.counted("slipway_leader") == 0
        assert standby.get("/readyz")[0] == standby.get("/livez")[0] == 200


async def test_on_sigterm_the_operator_finishes_writes_in_flight(cluster: AnyCluster, kube: Kube) -> None:
    """It completes what it has started; the next leader does the rest. (Watches are cut off: nothing is lost.)"""
    with operator.running(cluster.kubeconfig) as slipway:
        await asyncio.gather(*(kube.apply(at_zero(f"model-{number}")) for number in range(4)))
        await kube.wait_for("service", "model-0", lambda _: True)
        slipway.send(signal.SIGTERM)
        assert await asyncio.to_thread(slipway.ended) == 0
        lines = [line for line in slipway.log.lines if "kopf has not ended on its own" not in line]
        assert not [line for line in lines if "cancelled" in line or "Traceback" in line]
    with operator.running(cluster.kubeconfig):
        for number in range(4):
            await until_settled(kube, f"model-{number}")
