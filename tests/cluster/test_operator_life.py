"""An LLMDeployment with the real operator: its children, its status, and no unnecessary writes."""

from __future__ import annotations

from support.builders.llmdeployments import CHILDREN, NAME, OURS, PREDICTOR, at_zero, gemma, on_own_engine, own_runtime
from support.cluster import (
    AnyCluster,
    Kube,
    Operator,
    Predicate,
    ServiceAccess,
    children,
    conditions,
    created,
    current_status,
    events_with,
    settled,
    until_settled,
)
from support.cluster.llmdeployments import until_alone, versions
from support.cluster.services import reachable
from support.load.completions import complete
from support.programs import operator

# --- children and status ---------------------------------------------------------------------------------------------


async def test_every_child_of_a_deployment_is_owned_by_it(slipway: Operator, kube: Kube) -> None:
    deployment = await settled(kube, at_zero())
    found = await children(kube)
    assert set(found) == set(CHILDREN)
    for obj in found.values():
        [owner] = obj["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"]) == ("LLMDeployment", deployment["metadata"]["uid"])
        assert owner["controller"] is owner["blockOwnerDeletion"] is True


async def test_gemma_responds_at_the_url_of_its_status(
    slipway: Operator, kube: Kube, gemma_volume: None, access: ServiceAccess
) -> None:
    serving = current_status(await settled(kube, gemma(min_replicas=1), "Serving", timeout=120))
    assert serving["url"] == f"http://gemma.{kube.namespace}.svc"
    assert serving["message"] == "1 replica answers."
    assert serving["replicas"] == {"desired": 1, "ready": 1, "warmingUp": 0}
    assert {"schedule", "start", "ready"} <= set(serving["lastColdStart"])
    url = await reachable(access, "gemma")
    async with access.session() as session:
        assert (await complete(session, url, "Kubernetes is")).text


async def test_at_zero_a_deployment_is_idle_and_no_pod_ever_starts(slipway: Operator, kube: Kube) -> None:
    async with kube.recording("pods") as pods:
        idle = await settled(kube, at_zero())
        await kube.wait_for("deployment", PREDICTOR, lambda found: found["spec"]["replicas"] == 0)
        await kube.never("pods", seconds=3)
    assert pods == []
    assert conditions(idle)["Ready"] == ("True", "ScaledToZero")
    assert conditions(idle)["ModelLoaded"] == ("False", "ScaledToZero")
    assert conditions(idle)["Scaled"] == ("True", "AsWanted")


async def test_each_change_of_state_is_an_event_once(slipway: Operator, kube: Kube, weights: None) -> None:
    await kube.apply(own_runtime())
    await settled(kube, on_own_engine(), "Serving")
    await kube.patch("llmdeployment", NAME, {"spec": {"scaling": {"minReplicas": 0}}})
    await kube.scale("deployment", PREDICTOR, 0)  # as an autoscaler does
    await until_settled(kube, state="Idle")
    reasons = await events_with(kube, "Idle")  # there may be a warning in between if the kubelet is slow
    assert [reason for type_, reason in reasons if type_ == "Normal"] == ["Waking", "Serving", "Idle"]


# --- unnecessary writes ----------------------------------------------------------------------------------------------


async def test_nothing_but_the_status_of_a_deployment_is_ever_written(slipway: Operator, kube: Kube) -> None:
    before = await created(kube, at_zero())
    after = await until_settled(kube)
    managers = {(entry["manager"], entry.get("subresource")) for entry in after["metadata"]["managedFields"]}
    assert managers == {("slipway-tests", None), ("slipway-status", "status")}
    for given in ("annotations", "finalizers", "labels", "generation"):
        assert after["metadata"].get(given) == before["metadata"].get(given)
    assert after["spec"] == before["spec"]


async def test_a_reconcile_that_finds_nothing_new_writes_nothing(slipway: Operator, kube: Kube) -> None:
    await settled(kube, at_zero())
    await until_alone(kube)
    before, writes, reconciles = await versions(kube), writes_for_models(slipway), slipway.reconciles()
    looked_at = {"metadata": {"annotations": {"looked-at-for": kube.namespace}}}
    await kube.patch("clusterservingruntime", "slipway-llamacpp", looked_at)
    slipway.until(lambda: slipway.reconciles() > reconciles)  # a runtime affects all deployments
    await kube.never("llmdeployments", has_changed(before), seconds=1)
    assert await versions(kube) == before
    assert writes_for_models(slipway) == writes


async def test_a_new_leader_changes_nothing_where_nothing_differs(
    cluster: AnyCluster, slipway: Operator, kube: Kube, weights: None
) -> None:
    await kube.apply(own_runtime())
    await settled(kube, on_own_engine(), "Serving")
    await until_alone(kube)
    before, pods = await versions(kube), await uids(kube, "pods")
    slipway.end()
    with operator.running(cluster.kubeconfig) as successor:
        # it has no record of what was applied before
        successor.until(lambda: successor.writes().get(("apply", "InferenceService")))
        await kube.never("llmdeployments", has_changed(before), seconds=1)
        assert ("apply-status", "LLMDeployment") not in successor.writes()
    assert await versions(kube) == before
    assert await uids(kube, "pods") == pods


def writes_for_models(slipway: Operator) -> dict[tuple[str, str], float]:
    """Without the status of profiles, which says what the pods of other tests use."""
    return {(verb, kind): count for (verb, kind), count in slipway.writes().items() if kind != "AcceleratorProfile"}


def has_changed(before: dict[str, str]) -> Predicate:
    return lambda obj: bool(obj["metadata"]["resourceVersion"] != before["llmdeployment"])


async def uids(kube: Kube, kind: str) -> set[str]:
    return {obj["metadata"]["uid"] for obj in await kube.select(kind, OURS)}
