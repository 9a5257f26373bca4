"""Which changes reach the pods of a model; tests/unit/operator/rendering/test_changes.py covers all of them."""

from __future__ import annotations

import pytest
from support.builders.llmdeployments import NAME, NEW_VERSION, OURS, PREDICTOR, at_zero, on_own_engine, own_runtime
from support.cluster import Kube, Object, Operator, Predicate, current_status, settled, until_settled

pytestmark = pytest.mark.usefixtures("slipway")

REACH_PODS: dict[str, Object] = {
    "the model": {"model": {"uri": "s3://others/llama"}},
    "the engine": {"engine": {"contextLength": 2048}},
    "the environment": {"pod": {"env": [{"name": "APP_A", "value": "1"}]}},
    "labels of the pods": {"pod": {"labels": {"team": "blue"}}},
    "resources": {"pod": {"resources": {"requests": {"cpu": "50m"}}}},
}
LEAVE_PODS_ALONE: Object = {
    "scaling": {"maxReplicas": 3, "idleAfter": "1h", "hold": {"maxRequests": 7}},
    "rollout": {"strategy": "Recreate"},
    "access": {"allowFrom": []},
    "observability": {"monitor": False},
    "model": {"facts": {"parameters": 8_000_000_000}},
}
THEIRS = {"labels": {"team": "blue"}, "annotations": {"argocd.argoproj.io/tracking-id": "x"}}


async def test_settings_of_pods_reach_their_template(kube: Kube) -> None:
    await settled(kube, at_zero())
    for what, change in REACH_PODS.items():
        before = await template(kube)
        await kube.patch("llmdeployment", NAME, {"spec": change})
        found = await kube.wait_for("deployment", PREDICTOR, has_another(before))
        assert found["spec"]["replicas"] == 0, what


def has_another(before: Object) -> Predicate:
    return lambda found: bool(found["spec"]["template"] != before)


async def test_a_change_that_does_not_affect_the_pods_leaves_them_running(kube: Kube, weights: None) -> None:
    await kube.apply(own_runtime())
    await settled(kube, on_own_engine(), "Serving")
    pods, before = await pod_uids(kube), await template(kube)
    await kube.patch("llmdeployment", NAME, {"spec": LEAVE_PODS_ALONE})
    await kube.wait_for("deployment", PREDICTOR, lambda found: found["spec"]["strategy"]["type"] == "Recreate")
    await until_settled(kube, state="Serving")
    assert await template(kube) == before
    assert await pod_uids(kube) == pods
    policy = await kube.get("networkpolicy", NAME)
    assert policy["spec"]["ingress"] != [{}]


async def test_labels_and_annotations_of_others_change_nothing(kube: Kube, weights: None) -> None:
    await kube.apply(own_runtime())
    await settled(kube, on_own_engine(), "Serving")
    pods, service = await pod_uids(kube), await kube.get("inferenceservice", NAME)
    for kind in ("llmdeployment", "service", "networkpolicy"):
        await kube.patch(kind, NAME, {"metadata": THEIRS})
    await kube.never("inferenceservices", is_changed(service), seconds=2)
    assert await pod_uids(kube) == pods
    for kind in ("llmdeployment", "service", "networkpolicy"):
        assert (await kube.get(kind, NAME))["metadata"]["labels"]["team"] == "blue"


async def test_a_rollout_is_reported_as_a_rollout(kube: Kube, weights: None, slipway: Operator) -> None:
    await kube.apply(own_runtime())
    await settled(kube, on_own_engine(), "Serving")
    pods = await pod_uids(kube)
    logged = len(slipway.log.lines)
    async with kube.passing("llmdeployment", NAME, lambda obj: current_status(obj).get("state") == "Updating"):
        await kube.patch("llmdeployment", NAME, NEW_VERSION)
    after = await until_settled(kube, state="Serving")
    assert after["status"]["replicas"] == {"desired": 1, "ready": 1, "warmingUp": 0}
    assert not pods & await pod_uids(kube)
    assert not [line for line in slipway.log.lines[logged:] if kube.namespace in line and " warning " in line]


def is_changed(before: Object) -> Predicate:
    return lambda obj: obj["metadata"]["generation"] != before["metadata"]["generation"]


async def template(kube: Kube) -> Object:
    made = await kube.wait_for("deployment", PREDICTOR, lambda _: True)
    found: Object = made["spec"]["template"]
    return found


async def pod_uids(kube: Kube) -> set[str]:
    """The pods that aren't being deleted."""
    pods = await kube.select("pods", OURS)
    return {pod["metadata"]["uid"] for pod in pods if "deletionTimestamp" not in pod["metadata"]}
