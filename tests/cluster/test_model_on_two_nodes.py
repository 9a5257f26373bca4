"""A model whose weights are on a claim that two real nodes reach: wherever its pod goes, nothing is fetched again.

It sleeps and wakes on the other node; its node loses its power; its node is drained. The last two follow the runbooks,
which tests/runbooks/test_nodes.py walks with simulated nodes: here the pod ends with its node.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from slipway_devcluster.addresses import NODE_NAME, Node
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.slipway import FETCHER_IMAGE, LLAMACPP_IMAGE
from slipway_devcluster.volumes import SHARED_CLASS
from support.builders.llmdeployments import NAME, OURS
from support.builders.model_files import write_gguf
from support.builders.objects import Object
from support.cluster import Kube, Predicate, Settings, installation, is_ready, own_namespace, until_settled
from support.cluster.fixtures import kubectl_for
from support.cluster.llmdeployments import is_for_others_to_scale
from support.cluster.reachable_hub import hub_for_pods
from support.cluster.tester import ReachableServer
from support.fakes.hub import FakeHub, Repository
from support.faults.components import without_power
from support.faults.model_walks import walk_of
from support.faults.runbook_faults import tiny
from support.pages.shell import Shell
from support.programs import operator
from support.programs.operator import Operator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600, func_only=True)]

SECOND = Node(2).name
PREDICTOR = f"{NAME}-predictor"
PATIENCE = 180.0
CACHE = {"kind": "PVC", "storageClassName": SHARED_CLASS, "accessMode": "ReadWriteMany"}
NO_LONGER_OFF = "node.kubernetes.io/out-of-service-"


@pytest.fixture(scope="module")
def whole(two_nodes: Cluster, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Kube:
    for image in (FETCHER_IMAGE, LLAMACPP_IMAGE):
        image.loaded(two_nodes, settings.cache, settings.steps)
    kube = kubectl_for(two_nodes, tmp_path_factory)
    asyncio.run(installation.install(kube, LLAMACPP_IMAGE.name))
    return kube


@pytest.fixture(scope="module")
def slipway(two_nodes: Cluster, whole: Kube) -> Iterator[Operator]:
    with operator.running(two_nodes.kubeconfig, f"--fetcher-image={FETCHER_IMAGE.name}") as slipway:
        yield slipway


@pytest.fixture(scope="module")
def shell(two_nodes: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell.made(tmp_path_factory.mktemp("reader"), {"kubectl": two_nodes.kubectl}, two_nodes.kubeconfig)


@pytest.fixture
async def kube(slipway: Operator, whole: Kube) -> AsyncIterator[Kube]:
    async with own_namespace(whole) as kube:
        yield kube
        await kube.delete("llmdeployment", NAME, wait=True)


@pytest.fixture
async def hub(two_nodes: Cluster, tmp_path: Path) -> AsyncIterator[FakeHub]:
    """With the tiny model."""
    file = write_gguf(tmp_path / "model.gguf")
    tester = ReachableServer(two_nodes.node_ip, two_nodes.entered)
    async with hub_for_pods(tester, tiny=Repository({file.name: file.read_bytes()})) as server:
        yield server


@asynccontextmanager
async def only_on(kube: Kube, node: str) -> AsyncGenerator[None]:
    """Pods that are created in the block are placed on this node."""
    other = NODE_NAME if node == SECOND else SECOND
    await kube.run("cordon", other)
    try:
        yield
    finally:
        await kube.run("uncordon", other)


def model(hub: FakeHub, **spec: Any) -> Object:
    commit = hub.repositories["org/tiny"].commit
    return tiny(model={"uri": "hf://org/tiny", "revision": commit, "endpoint": hub.url, "cache": CACHE}, **spec)


def fetched_once(hub: FakeHub) -> None:
    """From now on it counts from zero."""
    assert hub.sent == sum(map(len, hub.repositories["org/tiny"].files.values()))
    hub.sent = 0
    hub.requests.clear()


async def serving_on_the_second_node(kube: Kube, hub: FakeHub, **spec: Any) -> None:
    async with only_on(kube, SECOND):
        await kube.apply(model(hub, **spec))
        await until_settled(kube, NAME, "Serving", timeout=PATIENCE)
    fetched_once(hub)


def is_ready_on(node: str) -> Predicate:
    return lambda pod: is_ready(pod) and pod["spec"]["nodeName"] == node


def names(reason: str) -> Predicate:
    return lambda it: reason in it.get("status", {}).get("message", "")


async def scaled(kube: Kube, replicas: int) -> None:
    await kube.scale("deployment", PREDICTOR, replicas)
    await kube.wait_for(
        "deployment", PREDICTOR, lambda it: it["status"].get("readyReplicas", 0) == replicas, timeout=PATIENCE
    )


async def test_a_model_wakes_on_the_other_node_and_fetches_nothing(kube: Kube, hub: FakeHub) -> None:
    await kube.apply(model(hub, scaling={"minReplicas": 0}))
    await kube.wait_for("deployment", PREDICTOR, is_for_others_to_scale)
    async with only_on(kube, SECOND):
        await scaled(kube, 1)
    fetched_once(hub)
    await scaled(kube, 0)
    async with only_on(kube, NODE_NAME):
        await scaled(kube, 1)
    await kube.wait_for_any("pods", OURS, is_ready_on(NODE_NAME))
    assert (hub.sent, hub.requests) == (0, [])


async def test_a_model_whose_node_loses_its_power_serves_on_the_other_one_and_fetches_nothing(
    kube: Kube, hub: FakeHub, shell: Shell, two_nodes: Cluster
) -> None:
    await serving_on_the_second_node(kube, hub)
    fault = "The power of the model's node is cut; another one is free, and the weights are on a shared claim."
    walk = walk_of("NodeLost", shell, kube, fault, NODE=SECOND)
    async with without_power(two_nodes, SECOND):
        await kube.wait_for("llmdeployment", NAME, names("NodeLost"), timeout=PATIENCE)
        await walk.through("Diagnosis")
        await walk.through("Mitigation")
        await kube.wait_for_any("pods", OURS, is_ready_on(NODE_NAME), timeout=PATIENCE)
        await until_settled(kube, NAME, "Serving", timeout=PATIENCE)
        assert (hub.sent, hub.requests) == (0, [])
    await kube.run("taint", "node", SECOND, NO_LONGER_OFF)


async def test_a_model_whose_node_is_drained_serves_on_the_other_one_and_fetches_nothing(
    kube: Kube, hub: FakeHub, shell: Shell
) -> None:
    await serving_on_the_second_node(kube, hub, scaling={"maxReplicas": 2, "autoscaler": "None"})
    fault = "One of two real nodes is drained after its model got a second replica on the other one."
    walk = walk_of("drain-a-node", shell, kube, fault, NODE=SECOND, REPLICAS="2")
    try:
        for step in ("1. No new pods there", "2. Another replica, to avoid the pause", "3. Evict the models' pods"):
            await walk.through("Steps", step)
        await kube.wait_for_any("pods", OURS, is_ready_on(NODE_NAME))
        assert (hub.sent, hub.requests) == (0, [])
        await walk.through("Check", "Afterwards")
    finally:
        await kube.run("uncordon", SECOND)
