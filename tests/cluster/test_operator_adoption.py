"""Ownership: objects of others are never touched, and objects that were orphaned on purpose are adopted."""

from __future__ import annotations

import asyncio

import pytest
from support.builders import objects
from support.builders.llmdeployments import CHILDREN, NAME, at_zero
from support.cluster import (
    Kube,
    Object,
    Predicate,
    children,
    conditions,
    created,
    events_with,
    is_stalled,
    settled,
    until_settled,
)

pytestmark = pytest.mark.usefixtures("slipway")


def network_policy(name: str) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": {}},
    }


def of_others() -> dict[str, Object]:
    """One object of each kind, by the deployment that would have a child of its name."""
    manual = objects.service("by-hand", selector={"app": "shop"})
    by_helm = network_policy("by-helm")
    by_helm["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "Helm"}
    owned = objects.inference_service("owned", autoscaler_class="none", minReplicas=0)
    return {"by-hand": manual, "by-helm": by_helm, "owned": owned}


MESSAGES = {
    "by-hand": "Service by-hand exists already and isn't ours; delete it, or give this deployment another name",
    "by-helm": "NetworkPolicy by-helm exists already and is managed by Helm",
    "owned": "InferenceService owned exists already and belongs to ConfigMap chief",
}


@pytest.mark.slow
async def test_objects_of_others_are_never_changed_and_block_only_while_they_exist(kube: Kube) -> None:
    objects_ = of_others()
    objects_["owned"]["metadata"]["ownerReferences"] = [await an_owner(kube)]
    await kube.apply(*objects_.values())
    await asyncio.gather(*(stays_untouched(kube, name, obj) for name, obj in objects_.items()))
    for name, obj in objects_.items():
        await kube.delete(obj["kind"].lower(), name)
    for name in objects_:
        await until_settled(kube, name, timeout=60)
        assert set(await children(kube, name)) == set(CHILDREN)


async def an_owner(kube: Kube) -> Object:
    await kube.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "chief"}})
    owner = await kube.get("configmap", "chief")
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "chief",
        "uid": owner["metadata"]["uid"],
        "controller": True,
    }


async def stays_untouched(kube: Kube, name: str, obj: Object) -> None:
    kind = obj["kind"].lower()
    before = await kube.get(kind, name)
    await kube.apply(at_zero(name))
    stalled = await kube.wait_for("llmdeployment", name, is_stalled("NameTaken", MESSAGES[name]))
    assert conditions(stalled)["Ready"] == ("False", "NameTaken")
    after = await kube.get(kind, name)
    for part in ("spec", "metadata"):
        assert without_kserves_own(after[part]) == without_kserves_own(before[part])
    assert await events_with(kube, "NameTaken", name) == [("Warning", "NameTaken")]


def without_kserves_own(part: Object) -> Object:
    return {key: value for key, value in part.items() if key not in ("resourceVersion", "managedFields", "finalizers")}


async def test_orphaned_children_are_adopted_by_a_successor(kube: Kube) -> None:
    await settled(kube, at_zero())
    before = await children(kube)
    await kube.run("delete", "llmdeployment", NAME, "--cascade=orphan", "--timeout=10s")
    successor = await created(kube, at_zero())
    for kind in CHILDREN:
        adopted = await kube.wait_for(kind, NAME, is_owned_by(successor))
        assert adopted["metadata"]["uid"] == before[kind]["metadata"]["uid"]
    await until_settled(kube)


def is_owned_by(deployment: Object) -> Predicate:
    uid = deployment["metadata"]["uid"]
    return lambda obj: [each["uid"] for each in obj["metadata"].get("ownerReferences") or []] == [uid]
