"""Manual changes and deletions are repaired; fields of others are left alone, and no manager is fought forever."""

from __future__ import annotations

import pytest
from support.builders.llmdeployments import CHILDREN, NAME, at_zero, on_own_engine, own_runtime
from support.cluster import Kube, Object, Operator, Predicate, settled

BY_HAND: dict[str, tuple[Object, Predicate]] = {
    "service": (
        {"spec": {"selector": {"slipway.dev/llmdeployment": "other"}}},
        lambda it: it["spec"]["selector"] == {"slipway.dev/llmdeployment": NAME},
    ),
    "networkpolicy": (
        {"metadata": {"labels": {"slipway.dev/llmdeployment": "other"}}},
        lambda it: it["metadata"]["labels"]["slipway.dev/llmdeployment"] == NAME,
    ),
    "inferenceservice": (
        {"spec": {"predictor": {"timeout": 1}}},
        lambda it: it["spec"]["predictor"]["timeout"] == 3600,
    ),
}


@pytest.fixture(autouse=True)
async def idle(slipway: Operator, kube: Kube) -> None:
    await settled(kube, at_zero())


@pytest.mark.parametrize("kind", CHILDREN)
async def test_a_managed_field_that_is_changed_is_repaired(kube: Kube, kind: str) -> None:
    change, is_right = BY_HAND[kind]
    before = await kube.get(kind, NAME)
    await kube.patch(kind, NAME, change)
    repaired = await kube.wait_for(kind, NAME, lambda it: is_right(it) and is_later(it, before), timeout=30)
    assert repaired["metadata"]["uid"] == before["metadata"]["uid"]


def is_later(obj: Object, before: Object) -> bool:
    """Waits for two writes: the change and the repair."""
    return int(obj["metadata"]["resourceVersion"]) > int(before["metadata"]["resourceVersion"])


@pytest.mark.parametrize("kind", CHILDREN)
async def test_a_deleted_child_is_created_again(kube: Kube, kind: str) -> None:
    before = await kube.get(kind, NAME)
    await kube.delete(kind, NAME)
    await kube.wait_for(kind, NAME, lambda it: it["metadata"]["uid"] != before["metadata"]["uid"])


async def test_fields_of_other_managers_are_left_alone(kube: Kube) -> None:
    theirs = {"metadata": {"annotations": {"note": "x"}}, "spec": {"sessionAffinity": "ClientIP"}}
    await kube.patch("service", NAME, theirs)
    changed = await kube.get("service", NAME)
    await kube.never("services", lambda it: is_named(it) and is_later(it, changed), seconds=2)


def is_named(obj: Object) -> bool:
    return bool(obj["metadata"]["name"] == NAME)


async def test_a_manager_that_always_changes_a_field_back_is_named_and_not_fought(
    slipway: Operator, kube: Kube
) -> None:
    change, is_right = BY_HAND["service"]
    for _ in range(5):
        await kube.patch("service", NAME, change)
        await kube.wait_for("service", NAME, is_right, timeout=30)
    await kube.patch("service", NAME, change)
    event = await kube.wait_for_any("events.v1.events.k8s.io", "", is_event_of_a_conflict)
    assert (event["type"], event["regarding"]["name"]) == ("Warning", NAME)
    for word in ("kubectl-patch", ".spec.selector"):
        assert word in event["note"]
    await kube.never("services", lambda it: is_named(it) and is_right(it), seconds=3)


def is_event_of_a_conflict(event: Object) -> bool:
    return bool(event["reason"] == "FieldsFoughtOver")


async def test_replicas_below_the_minimum_are_restored(kube: Kube, weights: None) -> None:
    await kube.apply(own_runtime())
    await settled(kube, on_own_engine("two"), "Serving")
    await kube.scale("deployment", "two-predictor", 0)
    await kube.wait_for("deployment", "two-predictor", lambda it: it["spec"]["replicas"] == 1, timeout=30)
