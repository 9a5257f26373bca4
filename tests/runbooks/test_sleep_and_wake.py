"""Models that don't wake, and models that don't sleep: the scenarios' steps show the link that is broken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from slipway_devcluster.cluster import Cluster
from support.builders.llmdeployments import NAME, OURS, on_own_engine, own_runtime
from support.cluster import FromTheNode, Kube, is_ready, until_settled
from support.cluster.services import reachable
from support.faults.components import frozen
from support.faults.model_walks import client_of, namespace_with_models, walk_of
from support.faults.refusals import PROMPT, Client
from support.faults.runbook_faults import tiny
from support.faults.slipway_pods import PodFaults
from support.pages.shell import Shell

pytestmark = pytest.mark.slow

PATIENCE = 180.0
KEDA = "keda"


@pytest.fixture
async def kube(whole: Kube, models: Path) -> AsyncIterator[Kube]:
    """A namespace with the tiny models, and the claim `weights` for engines that read no model."""
    async with namespace_with_models(whole, models, "weights") as kube:
        yield kube


async def test_a_model_does_not_wake_while_keda_hangs(node: Cluster, kube: Kube, shell: Shell) -> None:
    await kube.apply(tiny(scaling={"minReplicas": 0}))
    await kube.wait_for_condition("scaledobject", NAME, "Ready", timeout=PATIENCE)
    await reachable(FromTheNode(kube, node.entered), NAME)
    fault = "KEDA's operator hangs (SIGSTOP), and a request arrives at a model at zero."
    walk = walk_of("model-does-not-wake", shell, kube, fault, KEDA_NAMESPACE=KEDA)
    keda = await PodFaults(node, kube).keda()
    async with frozen(node, keda), client_of(node, kube) as client:
        request = asyncio.create_task(client.send("/v1/completions", PROMPT))
        try:
            await walk.through("Diagnosis")
            for step in (
                "1. Does the Service lead to the activator?",
                "2. Does the request arrive, and is it one that wakes?",
                "3. Does KEDA see it?",
                "4. Did the Deployment get a replica?",
            ):
                await walk.through("Diagnosis", step)
            await walk.through("Mitigation")
            assert await asyncio.wait_for(request, PATIENCE) == (200, "")
        finally:
            request.cancel()
    walk.saw("The request that was held was answered.")
    walk.record()


async def test_a_model_that_is_asked_all_the_time_does_not_sleep(node: Cluster, kube: Kube, shell: Shell) -> None:
    await kube.apply(tiny(scaling={"minReplicas": 0, "initialReplicas": 1, "idleAfter": "1m"}))
    pod = await kube.wait_for_any("pods", OURS, is_ready, timeout=PATIENCE)
    fault = "A client sends a request every second to a model that sleeps after a minute."
    walk = walk_of("model-never-sleeps", shell, kube, fault, POD=pod["metadata"]["name"])
    async with client_of(node, kube) as client:
        probe = asyncio.create_task(asks_again_and_again(client))
        try:
            await asyncio.sleep(75)
            assert is_ready(await kube.get("pod", pod["metadata"]["name"]))
            for step in ("1. May it sleep?", "2. What does the model say?", "3. Is it really idle?"):
                await walk.through("Diagnosis", step)
        finally:
            probe.cancel()
    await walk.through("Mitigation")
    await until_settled(kube, NAME, "Idle", timeout=PATIENCE)
    walk.saw("Idle, once the client had ended.")
    walk.record()


async def test_a_model_without_metrics_does_not_sleep(kube: Kube, shell: Shell) -> None:
    scaling = {"minReplicas": 0, "initialReplicas": 1, "idleAfter": "1m"}
    await kube.apply(own_runtime(), on_own_engine(scaling=scaling))
    pod = await kube.wait_for_any("pods", OURS, is_ready, timeout=PATIENCE)
    walk = walk_of("model-never-sleeps", shell, kube, "An engine that exports no metrics.")
    await walk.through("Diagnosis", "4. Does the activator read the metrics?", within=PATIENCE)
    assert is_ready(await kube.get("pod", pod["metadata"]["name"]))
    await walk.through("Mitigation", "Its metrics can't be read")
    await kube.wait_gone("pod", pod["metadata"]["name"], timeout=PATIENCE)
    await until_settled(kube, NAME, "Idle", timeout=PATIENCE)
    await kube.never("pods", is_ready, seconds=15)
    walk.saw("The activator's log named it; paused and scaled by hand, it stayed at zero.")
    walk.record()


async def asks_again_and_again(client: Client) -> None:
    while True:
        await client.send("/v1/completions", PROMPT)
        await asyncio.sleep(1)
