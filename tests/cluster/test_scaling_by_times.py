"""Replicas follow the time to first token: a real model, real KEDA, and a load that makes it miss its target."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from slipway.api.units import seconds
from slipway_devcluster import model
from slipway_devcluster.cluster import Cluster
from support.builders.llmdeployments import GEMMA_CLAIM, sleeping_model
from support.cluster import FromTheNode, Kube, Object, Settings, events_with, folder_claimed
from support.load.completions import RefusedError, complete

NAME, PREDICTOR = "gemma", "gemma-predictor"
TARGET, CLIENTS = "250ms", 6
SPEC = {
    "scaling": {"minReplicas": 1, "maxReplicas": 3, "target": {"ttftP95": TARGET}},
    "pod": {"resources": {"limits": {"cpu": "400m"}}},
}


@pytest.fixture
async def kube(operator_pods: Cluster, neighbour_kube: Kube, settings: Settings) -> AsyncIterator[Kube]:
    """A namespace with the demo model, of which one replica serves one request at a time."""
    weights = model.ensure_gguf(settings.cache, settings.steps)
    async with folder_claimed(neighbour_kube, GEMMA_CLAIM, weights):
        await neighbour_kube.apply(sleeping_model(NAME, at_once=1, **SPEC))
        await neighbour_kube.wait_for("deployment", PREDICTOR, lambda found: ready(found) == 1, timeout=240)
        yield neighbour_kube
        await neighbour_kube.delete("llmdeployment", NAME, wait=True)


def ready(deployment: Object) -> int:
    return int(deployment.get("status", {}).get("readyReplicas", 0))


def replicas(deployment: Object) -> int:
    return int(deployment["spec"]["replicas"])


@asynccontextmanager
async def load(url: str, access: FromTheNode) -> AsyncIterator[None]:
    """Clients that send one short request after the other, each over a new connection, as many different clients do."""

    async def client() -> None:
        while True:
            async with access.session() as session:
                with suppress(RefusedError, aiohttp.ClientError):
                    await complete(session, url, "1, 2, 3,", model=NAME, max_tokens=8)

    clients = [asyncio.create_task(client()) for _ in range(CLIENTS)]
    try:
        yield
    finally:
        for each in clients:
            each.cancel()
        await asyncio.gather(*clients, return_exceptions=True)


@pytest.mark.slow
@pytest.mark.timeout(2000, func_only=True)
async def test_replicas_are_added_while_the_first_token_is_late_and_removed_afterwards(
    operator_pods: Cluster, kube: Kube
) -> None:
    access = FromTheNode(kube, operator_pods.entered)
    async with load(await access.url(NAME), access):
        await kube.wait_for("deployment", PREDICTOR, lambda found: replicas(found) > 1, timeout=400)
        second = await kube.wait_for(
            "deployment", PREDICTOR, lambda found: replicas(found) > 2 or ready(found) > 1, timeout=240
        )
        assert replicas(second) == 2  # the one that loads counts already, so no third one is added
        await kube.wait_for(
            "llmdeployment", NAME, lambda found: f"follows ttftP95 {TARGET}" in scaled(found), timeout=30
        )
        added = await kube.wait_for("llmdeployment", NAME, lambda found: "lastScaled" in found["status"], timeout=30)
        step = added["status"]["lastScaled"]
        assert (step["before"], step["after"], step["time"], step["target"]) == (1, 2, "ttftP95", TARGET)
        assert seconds(step["measured"]) > 0.25
        assert ("Normal", "Scaled") in await events_with(kube, "Scaled", NAME)
    await kube.wait_for("deployment", PREDICTOR, lambda found: replicas(found) == 1, timeout=900)
    await kube.wait_for("llmdeployment", NAME, lambda found: found["status"]["lastScaled"]["after"] == 1, timeout=30)


def scaled(deployment: Object) -> str:
    conditions = deployment.get("status", {}).get("conditions", [])
    return str(next((each["message"] for each in conditions if each["type"] == "Scaled"), ""))
