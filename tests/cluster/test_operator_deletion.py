"""A deployment is deleted with all its children, whatever else is down, and none of them reappears."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from support.builders.llmdeployments import CHILDREN, MADE, NAME, OURS, PREDICTOR, at_zero, on_own_engine, own_runtime
from support.cluster import AnyCluster, Kube, Object, Operator, children, settled


async def test_all_children_are_deleted_with_the_deployment(slipway: Operator, kube: Kube, weights: None) -> None:
    await kube.apply(own_runtime())
    await settled(kube, on_own_engine(), "Serving")
    await kube.delete("llmdeployment", NAME)
    await all_is_gone(kube)
    await kube.run("wait", "--for=delete", "pods", f"--selector={OURS}", "--timeout=60s")


async def test_in_foreground_deletion_the_deployment_is_deleted_last(slipway: Operator, kube: Kube) -> None:
    await settled(kube, at_zero())
    await kube.run("delete", "llmdeployment", NAME, "--cascade=foreground", "--timeout=30s")
    assert await children(kube) == {}
    await asyncio.gather(*(kube.never(kind, is_named, seconds=2) for kind in CHILDREN))


def is_named(obj: Object) -> bool:
    return bool(obj["metadata"]["name"] == NAME)


@pytest.mark.slow
async def test_without_kserve_the_deployment_is_deleted_immediately_and_the_rest_when_kserve_is_back(
    cluster: AnyCluster, slipway: Operator, kube: Kube
) -> None:
    cluster.devcluster()  # KServe isn't stopped in a cluster that others use
    await settled(kube, at_zero())
    async with without_kserve(kube.within("kserve")):
        await kube.run("delete", "llmdeployment", NAME, "--timeout=5s")
        await kube.wait_gone("service", NAME)
        assert set(await children(kube)) == {"inferenceservice"}  # KServe's own finalizer keeps it
    await all_is_gone(kube)


@asynccontextmanager
async def without_kserve(kube: Kube) -> AsyncGenerator[None]:
    name = "kserve-controller-manager"
    await kube.run("scale", "deployment", name, "--replicas=0")
    await kube.wait_for("deployment", name, lambda it: not it["status"].get("replicas"))
    try:
        yield
    finally:
        await kube.run("scale", "deployment", name, "--replicas=1")
        await kube.wait_for("deployment", name, lambda it: bool(it["status"].get("readyReplicas")))


async def test_without_the_operator_everything_is_deleted_as_well(slipway: Operator, kube: Kube) -> None:
    await settled(kube, at_zero())
    slipway.end()
    try:
        await kube.run("delete", "llmdeployment", NAME, "--timeout=5s")
        await all_is_gone(kube)
    finally:
        slipway.restart()


async def test_a_deployment_of_the_same_name_can_be_created_immediately(slipway: Operator, kube: Kube) -> None:
    predecessor = await settled(kube, at_zero())
    await kube.delete("llmdeployment", NAME)
    successor = await settled(kube, at_zero(engine={"contextLength": 2048}))
    assert successor["metadata"]["uid"] != predecessor["metadata"]["uid"]
    found = await children(kube)
    owners = {kind: obj["metadata"]["ownerReferences"][0]["uid"] for kind, obj in found.items()}
    assert owners == dict.fromkeys(CHILDREN, successor["metadata"]["uid"])
    container = found["inferenceservice"]["spec"]["predictor"]["model"]
    assert "--context-length=2048" in container["args"]


async def all_is_gone(kube: Kube) -> None:
    for kind in MADE:
        await kube.wait_gone(kind, PREDICTOR if kind == "deployment" else NAME, timeout=60)
