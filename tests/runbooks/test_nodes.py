"""Nodes that are drained, lost, reclaimed or left for others: the commands of each page do what it says.

Models run on the real node of the cluster, or on simulated ones: kwok keeps those ready and their pods running.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from slipway_devcluster.addresses import NODE_NAME
from slipway_devcluster.cluster import Cluster
from support.builders.llmdeployments import NAME, OURS, llama_8b, on_own_engine, own_runtime
from support.builders.objects import Object
from support.cluster import Kube, Predicate, is_ready, until_settled
from support.cluster.mixed_nodes import Mixed
from support.faults.components import paused
from support.faults.model_walks import namespace_with_models, walk_of
from support.faults.runbook_faults import tiny
from support.pages.shell import Shell

pytestmark = pytest.mark.slow

PATIENCE = 180.0
SPOT: Object = {"nodeLabels": {"spot": "yes"}, "tolerations": [{"key": "spot", "operator": "Exists"}]}


@pytest.fixture
async def kube(whole: Kube, models: Path) -> AsyncIterator[Kube]:
    """A namespace with the tiny models, and the claim `weights` for engines that read no model."""
    async with namespace_with_models(whole, models, "weights") as kube:
        yield kube


@pytest.fixture
async def mixed(kube: Kube) -> AsyncIterator[Mixed]:
    mixed = Mixed(kube)
    yield mixed
    await mixed.end()


@asynccontextmanager
async def cordoned(kube: Kube, node: str = NODE_NAME) -> AsyncGenerator[None]:
    """Pods that are created in the block go elsewhere."""
    await kube.run("cordon", node)
    try:
        yield
    finally:
        await kube.run("uncordon", node)


def is_ready_on(node: str) -> Predicate:
    return lambda pod: is_ready(pod) and pod["spec"]["nodeName"] == node


def names(reason: str) -> Predicate:
    return lambda it: reason in it.get("status", {}).get("message", "")


# --- drained ---------------------------------------------------------------------------------------------------------


async def test_the_only_node_of_a_model_is_drained(kube: Kube, shell: Shell) -> None:
    await kube.apply(tiny())
    await until_settled(kube, NAME, "Serving", timeout=PATIENCE)
    fault = "The only node for this model is drained, and comes back."
    walk = walk_of("drain-a-node", shell, kube, fault, NODE=NODE_NAME)
    try:
        await walk.through("Before")
        await walk.through("Steps", "1. No new pods there")
        await walk.through("Steps", "3. Evict the models' pods")
        await walk.through("Check")
        await walk.through("Check", "Afterwards")
    finally:
        await kube.run("uncordon", NODE_NAME)
    await until_settled(kube, NAME, "Serving", timeout=PATIENCE)
    walk.saw("No pod of a model was left on the node; Serving again after it was uncordoned.")
    walk.record()


async def test_a_node_is_drained_after_its_model_got_another_replica(kube: Kube, mixed: Mixed, shell: Shell) -> None:
    other = await mixed.look_alike("cpu", 1)
    async with cordoned(kube, other):
        await kube.apply(own_runtime(), on_own_engine(scaling={"maxReplicas": 2, "autoscaler": "None"}))
        await until_settled(kube, NAME, "Serving", timeout=PATIENCE)
    fault = "A node is drained after its model got a second replica, on a simulated node."
    walk = walk_of("drain-a-node", shell, kube, fault, NODE=NODE_NAME, REPLICAS="2")
    try:
        for step in ("1. No new pods there", "2. Another replica, to avoid the pause", "3. Evict the models' pods"):
            await walk.through("Steps", step)
        await kube.wait_for_any("pods", OURS, is_ready_on(other))
        await walk.through("Check", "Afterwards")
    finally:
        await kube.run("uncordon", NODE_NAME)
    walk.values = {**walk.values, "REPLICAS": "1"}
    await walk.through("Check", "If you gave a model another replica")
    await kube.wait_for("llmdeployment", NAME, lambda it: it["status"]["replicas"]["ready"] == 1, timeout=PATIENCE)
    walk.saw("The other replica was ready before the first one was evicted; one was left afterwards.")
    walk.record()


# --- lost ------------------------------------------------------------------------------------------------------------


async def test_a_node_whose_machine_is_off(node: Cluster, kube: Kube, mixed: Mixed, shell: Shell) -> None:
    lost = await mixed.look_alike("cpu", 1)
    async with cordoned(kube):
        await kube.apply(own_runtime(), on_own_engine())
        await kube.wait_for_any("pods", OURS, is_ready_on(lost), timeout=PATIENCE)
    fault = "kwok is stopped, so that the heartbeats of its nodes end; the real node is free."
    walk = walk_of("NodeLost", shell, kube, fault, NODE=lost)
    async with paused(node, "kwok"):
        await kube.wait_for("llmdeployment", NAME, names("NodeLost"), timeout=PATIENCE)
        walk.saw("The status named NodeLost.")
        await walk.through("Diagnosis")
        await walk.through("Mitigation")
        await kube.wait_for_any("pods", OURS, is_ready_on(NODE_NAME), timeout=PATIENCE)
        await until_settled(kube, NAME, "Serving", timeout=PATIENCE)
    walk.saw("Serving on another node.")
    walk.record()


async def test_a_spot_node_that_vanishes(node: Cluster, kube: Kube, mixed: Mixed, shell: Shell) -> None:
    """Once another accelerator helps, and once an ordinary node of the same."""
    for kind in ("l4", "h100"):
        await mixed.profile(kind, **({"spot": SPOT} if kind == "l4" else {}))
    reclaimed = await mixed.node("spot", "l4", 1, taint="spot", spot="yes")
    await kube.apply(llama_8b(mixed.name("l4"), accelerator={"spot": "Allowed"}))
    await kube.wait_for_any("pods", OURS, is_ready_on(reclaimed), timeout=PATIENCE)
    other = await mixed.node("h100", "h100", 1)
    fault = "kwok is stopped, so that the heartbeats of a spot node end; no other spot node comes."
    values = {"NODE": reclaimed, "PROFILE": mixed.name("h100")}
    walk = walk_of("spot-node-reclaimed", shell, kube, fault, **values)
    async with paused(node, "kwok"):
        await kube.wait_for("llmdeployment", NAME, names("NodeLost"), timeout=PATIENCE)
        await walk.through("Diagnosis")
        await walk.through("Mitigation", "The machine is gone, and its Node isn't")
        await walk.through("Diagnosis", "The node was removed", within=PATIENCE)
    await kube.wait_for_condition("node", other, "Ready", timeout=PATIENCE)
    await walk.through("Mitigation", "No spot node is available")
    await kube.wait_for_any("pods", OURS, is_ready_on(other), timeout=PATIENCE)
    walk.saw("The model ran on the other accelerator.")
    await kube.patch("llmdeployment", NAME, {"spec": {"accelerator": {"profiles": [mixed.name("l4")]}}})
    ordinary = await mixed.node("ordinary", "l4", 1)
    await walk.through("Mitigation", "Without spot")
    await kube.wait_for_any("pods", OURS, is_ready_on(ordinary), timeout=PATIENCE)
    walk.saw("Without spot, it ran on an ordinary node.")
    walk.record()


# --- left for others -------------------------------------------------------------------------------------------------


async def test_a_model_moves_to_another_accelerator(kube: Kube, mixed: Mixed, shell: Shell) -> None:
    nodes = {}
    for kind in ("l4", "h100"):
        await mixed.profile(kind)
        nodes[kind] = await mixed.node(kind, kind, 1)
    await kube.apply(llama_8b(mixed.name("l4")))
    await kube.wait_for_any("pods", OURS, is_ready_on(nodes["l4"]), timeout=PATIENCE)
    fault = "A model moves between two simulated accelerators."
    values = {"PROFILE": mixed.name("h100"), "NODE": nodes["h100"]}
    walk = walk_of("move-to-another-accelerator", shell, kube, fault, **values)
    for part in ("Before", "Steps", "Check"):
        await walk.through(part)
    await kube.wait_for_any("pods", OURS, is_ready_on(nodes["h100"]), timeout=PATIENCE)
    walk.saw("The new replica was ready on the other accelerator, and the old one ended.")
    walk.record()
