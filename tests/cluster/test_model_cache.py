"""A model's files are fetched once: the next wake and the next replica send no request, also while the hub is down.

The engine does nothing, so that only the files matter; the Hub is a stand-in that counts what it has sent.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import pytest
from slipway_devcluster.volumes import DEFAULT, SHARED_CLASS, STORAGE_CLASS
from support.builders.llmdeployments import on_own_engine, own_runtime
from support.cluster import AnyCluster, Kube, Object, Operator
from support.cluster.llmdeployments import current_status, is_for_others_to_scale
from support.cluster.pods import is_running
from support.cluster.reachable_hub import reachable
from support.cluster.tester import ReachableServer
from support.fakes.hub import FakeHub, Repository
from support.fakes.hub import hub as hub_with
from support.programs import operator
from support.waiting import until

NAME, CLAIM, PREDICTOR = "model", "model-model", "model-predictor"
OURS = f"slipway.dev/llmdeployment={NAME}"
SIZE = 8 << 20


@pytest.fixture(scope="module")
def slipway(cluster: AnyCluster, installed_cluster: Kube) -> Iterator[Operator]:
    """The operator, as the chart starts it: with a fetcher; and a default StorageClass."""
    asyncio.run(installed_cluster.patch("storageclass", STORAGE_CLASS, marked("true")))
    with operator.running(cluster.kubeconfig, f"--fetcher-image={cluster.fetcher_image()}") as slipway:
        yield slipway
    asyncio.run(installed_cluster.patch("storageclass", STORAGE_CLASS, marked(None)))


def marked(value: str | None) -> Object:
    """As the cluster's default."""
    return {"metadata": {"annotations": {DEFAULT: value}}}


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    files = {"config.json": b"{}", "model.safetensors": os.urandom(SIZE)}
    with hub_with(model=Repository(files)) as found:
        yield found


def fetched(hub: FakeHub, endpoint: str, *, most: int = 1, **cache: Any) -> Object:
    model = {"uri": "hf://org/model", "revision": hub.repositories["org/model"].commit, "endpoint": endpoint}
    scaling = {"minReplicas": 0, "maxReplicas": most}
    return on_own_engine(NAME, replicas=0, uri=model["uri"], model={**model, "cache": cache}, scaling=scaling)


def cache_of(thing: Object) -> Object:
    found: Object = current_status(thing).get("modelCache") or {}
    return found


async def applied(kube: Kube, thing: Object) -> None:
    """Until its files have a claim, and others may scale it."""
    await kube.apply(own_runtime(securityContext={"runAsUser": 1000, "runAsGroup": 1000}), thing)
    await kube.wait_for("deployment", PREDICTOR, is_for_others_to_scale)
    await kube.wait_for("llmdeployment", NAME, lambda it: cache_of(it).get("kind") == "PVC")


async def awake(kube: Kube, replicas: int = 1) -> list[Object]:
    await kube.scale("deployment", PREDICTOR, replicas)
    enough = lambda it: int((it.get("status") or {}).get("readyReplicas") or 0) >= replicas  # noqa: E731
    await kube.wait_for("deployment", PREDICTOR, enough, timeout=120)
    return [each for each in await kube.select("pods", OURS) if is_running(each)]


async def asleep(kube: Kube) -> None:
    await kube.scale("deployment", PREDICTOR, 0)
    for pod in await kube.select("pods", OURS):
        await kube.wait_gone("pod", pod["metadata"]["name"])


async def test_by_default_the_second_wake_fetches_nothing_and_needs_no_hub(
    slipway: Operator, kube: Kube, hub: FakeHub, tester: ReachableServer
) -> None:
    async with reachable(tester, hub) as endpoint:
        await applied(kube, fetched(hub, endpoint))
        await awake(kube)
        assert hub.sent >= SIZE
        await asleep(kube)
    requests = len(hub.requests)
    [pod] = await awake(kube)
    assert len(hub.requests) == requests
    [mounted] = [each for each in pod["spec"]["volumes"] if each["name"] == "slipway-weights"]
    assert mounted["persistentVolumeClaim"] == {"claimName": CLAIM}


@pytest.mark.slow
async def test_a_second_replica_fetches_nothing_from_a_volume_that_they_share(
    slipway: Operator, kube: Kube, hub: FakeHub, tester: ReachableServer
) -> None:
    shared = {"kind": "PVC", "storageClassName": SHARED_CLASS, "accessMode": "ReadWriteMany"}
    async with reachable(tester, hub) as endpoint:
        await applied(kube, fetched(hub, endpoint, most=3, **shared))
        await awake(kube)
        sent = hub.sent
    await awake(kube, 3)
    assert hub.sent == sent


@pytest.mark.slow
async def test_a_pod_that_is_killed_while_files_arrive_leaves_what_the_next_one_goes_on_with(
    slipway: Operator, kube: Kube, hub: FakeHub, tester: ReachableServer
) -> None:
    hub.rate = SIZE / 8
    async with reachable(tester, hub) as endpoint:
        await applied(kube, fetched(hub, endpoint))
        await kube.scale("deployment", PREDICTOR, 1)
        first = await kube.wait_for_any("pods", OURS, is_fetching)

        async def has_sent_a_part() -> bool:
            return hub.sent > SIZE / 4

        await until(has_sent_a_part)
        await kube.run("delete", "pod", first["metadata"]["name"], "--grace-period=0", "--force")
        hub.rate = float("inf")
        await awake(kube)
    assert hub.sent < SIZE * 1.9


def is_fetching(pod: Object) -> bool:
    statuses = (pod.get("status") or {}).get("initContainerStatuses") or []
    return any("running" in (each.get("state") or {}) for each in statuses)
