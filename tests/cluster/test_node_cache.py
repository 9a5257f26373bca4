"""A model is fetched once on a node: by five LLMDeployments together, and by no later pod; whatever is killed.

The engine does nothing, so that only the files matter; the Hub is a stand-in that counts what it has sent.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator

import pytest
from slipway_devcluster.addresses import NODE_NAME
from support.builders.llmdeployments import on_own_engine, own_runtime
from support.cluster import AnyCluster, Kube, Object, Operator, node_plugin
from support.cluster.clusters import Settings
from support.cluster.llmdeployments import current_status, is_for_others_to_scale
from support.cluster.namespaces import own_namespace
from support.cluster.pods import is_running
from support.cluster.reachable_hub import reachable
from support.cluster.tester import ReachableServer
from support.fakes.hub import FakeHub, Repository
from support.fakes.hub import hub as hub_with
from support.faults import components
from support.programs import operator
from support.waiting import until

NAMES = [f"model-{number}" for number in range(5)]
SIZE = 8 << 20
Fault = Callable[[AnyCluster, Kube, Kube], Awaitable[None]]


@pytest.fixture(scope="module")
def plugin(cluster: AnyCluster, settings: Settings, installed_cluster: Kube) -> Iterator[Kube]:
    """The namespace of the plugin."""
    plugin = asyncio.run(node_plugin.install(installed_cluster, cluster, settings))
    yield plugin
    asyncio.run(node_plugin.remove(plugin))


@pytest.fixture(scope="module")
def slipway(cluster: AnyCluster, plugin: Kube) -> Iterator[Operator]:
    """The operator, as the chart starts it: with a fetcher."""
    with operator.running(cluster.kubeconfig, f"--fetcher-image={cluster.fetcher_image()}") as slipway:
        yield slipway


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    files = {"config.json": b"{}", "model.safetensors": os.urandom(SIZE)}
    with hub_with(model=Repository(files)) as found:
        yield found


async def applied(kube: Kube, hub: FakeHub, endpoint: str, *names: str) -> None:
    """Until their files are to be kept on the node, and others may scale them."""
    model = {"uri": "hf://org/model", "revision": hub.repositories["org/model"].commit, "endpoint": endpoint}
    scaling = {"minReplicas": 0, "maxReplicas": 1}
    things = [on_own_engine(name, replicas=0, uri=model["uri"], model=model, scaling=scaling) for name in names]
    await kube.apply(own_runtime(), *things)
    for name in names:
        await kube.wait_for("deployment", f"{name}-predictor", is_for_others_to_scale)
        await kube.wait_for("llmdeployment", name, lambda it: kind_of_cache(it) == "Node")


def kind_of_cache(thing: Object) -> str:
    return str((current_status(thing).get("modelCache") or {}).get("kind"))


async def scaled(kube: Kube, replicas: int, *names: str) -> None:
    for name in names:
        await kube.scale("deployment", f"{name}-predictor", replicas)


async def awake(kube: Kube, *names: str) -> None:
    await scaled(kube, 1, *names)
    for name in names:
        await kube.wait_for("deployment", f"{name}-predictor", has_a_replica, timeout=150)


def has_a_replica(deployment: Object) -> bool:
    return int((deployment.get("status") or {}).get("readyReplicas") or 0) > 0


async def asleep(kube: Kube, *names: str) -> None:
    await scaled(kube, 0, *names)
    for pod in await kube.select("pods", "slipway.dev/llmdeployment"):
        await kube.wait_gone("pod", pod["metadata"]["name"])


async def test_five_models_of_a_namespace_fetch_once_and_the_next_wake_needs_no_hub(
    slipway: Operator, kube: Kube, hub: FakeHub, tester: ReachableServer
) -> None:
    async with reachable(tester, hub) as endpoint:
        await applied(kube, hub, endpoint, *NAMES)
        await awake(kube, *NAMES)
    assert SIZE <= hub.sent < 1.1 * SIZE
    requests = len(hub.requests)
    await asleep(kube, *NAMES)
    await awake(kube, NAMES[0])
    assert len(hub.requests) == requests


@pytest.mark.slow
async def test_another_namespace_has_files_of_its_own(
    slipway: Operator, kube: Kube, hub: FakeHub, tester: ReachableServer
) -> None:
    async with reachable(tester, hub) as endpoint, own_namespace(kube) as other:
        for each in (kube, other):
            await applied(each, hub, endpoint, NAMES[0])
            await awake(each, NAMES[0])
    assert hub.sent >= 2 * SIZE


# --- kills -----------------------------------------------------------------------------------------------------------


async def kill_pod(cluster: AnyCluster, kube: Kube, plugin: Kube) -> None:
    [pod] = [pod for pod in await kube.select("pods", "slipway.dev/llmdeployment") if pod["spec"].get("nodeName")]
    await kube.run("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force")


async def kill_plugin(cluster: AnyCluster, kube: Kube, plugin: Kube) -> None:
    pod = await node_plugin.pod_on(plugin, NODE_NAME)
    await plugin.run("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force")


async def restart_kubelet(cluster: AnyCluster, kube: Kube, plugin: Kube) -> None:
    async with components.without(cluster.devcluster(), "kubelet", killed=True):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("fault", [kill_pod, kill_plugin, restart_kubelet])
async def test_a_model_is_complete_after_a_kill_while_it_arrives_and_little_is_fetched_twice(
    slipway: Operator,
    plugin: Kube,
    cluster: AnyCluster,
    kube: Kube,
    hub: FakeHub,
    tester: ReachableServer,
    fault: Fault,
) -> None:
    hub.rate = SIZE / 8
    async with reachable(tester, hub) as endpoint:
        await applied(kube, hub, endpoint, NAMES[0])
        await scaled(kube, 1, NAMES[0])

        async def has_sent_a_part() -> bool:
            return hub.sent > SIZE / 4

        await until(has_sent_a_part, timeout=90)
        await fault(cluster, kube, plugin)
        hub.rate = float("inf")
        await awake(kube, NAMES[0])
    assert hub.sent < 1.9 * SIZE
    [pod] = [pod for pod in await kube.select("pods", "slipway.dev/llmdeployment") if is_running(pod)]
    assert pod["spec"]["nodeName"] == NODE_NAME
