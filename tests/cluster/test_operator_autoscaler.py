"""`autoscaler: HPA`: the HorizontalPodAutoscaler that Slipway creates, and the controller that acts on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from support.builders.llmdeployments import NAME, PREDICTOR, gemma, on_own_engine, own_runtime
from support.cluster import Kube, Object, Predicate, ReachableServer, ServiceAccess, condition_of, conditions, settled
from support.cluster.custom_metrics import served
from support.cluster.llmdeployments import message
from support.cluster.services import reachable
from support.load.completions import RefusedError, complete

pytestmark = pytest.mark.usefixtures("slipway", "weights")

HPA = "horizontalpodautoscaler"
BY_HPA: Object = {"autoscaler": "HPA", "minReplicas": 1, "maxReplicas": 3}


async def test_an_autoscaler_is_created_repaired_and_removed_when_the_mode_changes(kube: Kube) -> None:
    await kube.apply(own_runtime())
    await settled(kube, on_own_engine(scaling=BY_HPA), "Serving")
    made = await kube.get(HPA, NAME)
    assert made["metadata"]["ownerReferences"][0]["kind"] == "LLMDeployment"
    await kube.patch(HPA, NAME, {"spec": {"maxReplicas": 9}})
    await kube.wait_for(HPA, NAME, lambda found: found["spec"]["maxReplicas"] == 3)
    await kube.delete(HPA, NAME)
    await kube.wait_for(HPA, NAME, lambda found: found["metadata"]["uid"] != made["metadata"]["uid"])
    await kube.patch("llmdeployment", NAME, {"spec": {"scaling": {"autoscaler": "None"}}})
    await kube.wait_gone(HPA, NAME)
    assert (await kube.get("deployment", PREDICTOR))["spec"]["replicas"] == 1


@pytest.mark.slow
async def test_a_model_at_zero_is_scaled_to_its_minimum_where_an_autoscaler_would_leave_it(kube: Kube) -> None:
    await kube.apply(own_runtime())
    await settled(kube, on_own_engine(replicas=0), "Idle")
    await kube.patch("llmdeployment", NAME, {"spec": {"scaling": BY_HPA | {"minReplicas": 2}}})
    await kube.wait_for("deployment", PREDICTOR, lambda made: made["status"].get("readyReplicas") == 2)
    await kube.wait_for(HPA, NAME, lambda found: found["spec"]["minReplicas"] == 2)


@pytest.mark.slow
@pytest.mark.timeout(300, func_only=True)
async def test_an_autoscaler_without_metrics_is_reported_with_what_it_lacks(kube: Kube) -> None:
    await kube.apply(own_runtime())
    await settled(kube, on_own_engine(scaling=BY_HPA), "Serving")
    deployment = await kube.wait_for("llmdeployment", NAME, is_without_metrics, timeout=200)
    assert "slipway_requests_in_flight" in message(deployment, "Scaled")
    assert "An adapter for Prometheus metrics" in message(deployment, "Scaled")
    assert deployment["status"]["state"] == "Degraded"


@pytest.mark.slow
@pytest.mark.timeout(420, func_only=True)
async def test_replicas_follow_the_requests_in_flight(
    kube: Kube, gemma_volume: None, access: ServiceAccess, tester: ReachableServer
) -> None:
    """llama.cpp with the demo model; each request asks for more tokens than can be generated during the test."""
    by_requests = BY_HPA | {"maxReplicas": 2, "target": {"inFlight": 1}}
    async with served(kube, tester):
        await settled(kube, gemma(min_replicas=1, scaling=by_requests), "Serving", timeout=120)
        url = await reachable(access, "gemma")
        async with access.session() as session, asking(session, url, at_a_time=2):
            await kube.wait_for("deployment", "gemma-predictor", has_ready(2), timeout=200)
        autoscaler = await kube.wait_for(HPA, "gemma", lambda found: condition_of(found, "ScalingActive") == "True")
    assert autoscaler["status"]["desiredReplicas"] == 2
    assert conditions(await kube.get("llmdeployment", "gemma"))["Scaled"] == ("True", "AsWanted")


@asynccontextmanager
async def asking(session: aiohttp.ClientSession, url: str, *, at_a_time: int) -> AsyncIterator[None]:
    """Keeps this many requests in flight, whatever the outcome of each."""

    async def keep_asking() -> None:
        while True:
            with suppress(RefusedError, aiohttp.ClientError):
                await complete(session, url, "Kubernetes is", max_tokens=400)

    tasks = [asyncio.create_task(keep_asking()) for _ in range(at_a_time)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def has_ready(number: int) -> Predicate:
    return lambda found: found["status"].get("readyReplicas") == number


def is_without_metrics(obj: Object) -> bool:
    return conditions(obj).get("Scaled") == ("False", "MetricsMissing")
