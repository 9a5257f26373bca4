"""Complete reconciles: from the state of the cluster to the writes, the status, and when the next one is due."""

from __future__ import annotations

from datetime import timedelta

import pytest
from slipway.kube.work_queue import NEVER
from slipway.objects.kinds import (
    ACCELERATOR_PROFILE,
    CLUSTER_SERVING_RUNTIME,
    DEPLOYMENT,
    INFERENCE_SERVICE,
    LLM_DEPLOYMENT,
    NETWORK_POLICY,
    SCALED_OBJECT,
    SERVICE,
    Kind,
    Object,
)
from slipway.operator.reconciling.reconciler import LONGEST_WAIT
from support.builders.stored import CREATED, LABELS, kube_object, llm, made_by_kserve, pod
from support.fakes.api_server import KEY
from support.programs.operator_loop import NOW, Loop, condition, state_and_reason, status

# --- from nothing to idle --------------------------------------------------------------------------------------------


async def test_the_first_reconcile_creates_all_objects_and_reports_it(loop: Loop) -> None:
    assert await loop.reconcile() is None
    assert loop.api.writes() == [*CREATED, "apply-status LLMDeployment", "create Event"]
    assert status(loop)["message"] == "The Deployment and the Service of this model are being created."


async def test_a_model_at_zero_becomes_external_once_kserve_has_made_its_deployment_and_is_idle(loop: Loop) -> None:
    await loop.reconcile()
    loop.api.put(made_by_kserve(owner=loop.api.get(INFERENCE_SERVICE)))
    loop.api.writes()
    await loop.reconcile()
    annotations = loop.api.get(INFERENCE_SERVICE)["metadata"]["annotations"]
    assert annotations["serving.kserve.io/autoscalerClass"] == "external"
    assert state_and_reason(loop) == ("Idle", "ScaledToZero")


async def test_if_nothing_has_changed_no_request_is_sent(loop: Loop) -> None:
    loop.api.put(made_by_kserve())
    await loop.settle()
    await loop.reconcile()
    assert loop.api.requests == []


async def test_a_cache_that_lags_behind_our_own_writes_causes_no_further_ones(loop: Loop) -> None:
    loop.api.put(made_by_kserve())
    loop.catch_up()
    for _ in range(2):
        await loop.reconciler.reconcile(KEY)
    assert loop.api.writes().count("apply Service") == 1
    assert loop.api.get(LLM_DEPLOYMENT)["metadata"]["resourceVersion"]


async def test_nothing_is_decided_before_all_caches_are_filled(loop: Loop) -> None:
    loop.store.take(LLM_DEPLOYMENT, "ADDED", loop.api.get(LLM_DEPLOYMENT), now=0)
    assert await loop.reconciler.reconcile(KEY) == 0.5
    assert loop.api.requests == []


async def test_a_change_of_wording_alone_waits_a_moment_for_the_change_that_often_follows(loop: Loop) -> None:
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"scaling": {"minReplicas": 1}}})
    loop.api.put(made_by_kserve(1))
    await loop.settle()
    loop.seconds_between_readings = 0.1
    loop.api.put(pod(is_ready=False))
    wait = await loop.reconcile()
    assert "apply-status LLMDeployment" not in loop.api.writes()
    assert wait
    assert 0 < wait < 1
    loop.seconds_between_readings = wait
    await loop.reconcile()
    assert loop.api.writes() == ["apply-status LLMDeployment"]


# --- deletion --------------------------------------------------------------------------------------------------------


async def test_a_deleted_deployment_is_forgotten(loop: Loop) -> None:
    await loop.settle()
    loop.api.remove(LLM_DEPLOYMENT)
    assert await loop.reconcile() == NEVER
    assert loop.api.requests == []


async def test_a_terminating_deployment_is_left_to_garbage_collection(loop: Loop) -> None:
    await loop.settle()
    loop.api.change(LLM_DEPLOYMENT, {"metadata": {"deletionTimestamp": "2026-11-21T10:00:00Z"}})
    loop.api.remove(SERVICE)
    assert await loop.reconcile() is None
    assert loop.api.requests == []


async def test_in_a_terminating_namespace_nothing_more_is_tried_or_reported(loop: Loop) -> None:
    await loop.settle()
    loop.api.remove(SERVICE)
    loop.api.faults["apply Service"] = (403, "unable to create new content because it is being terminated")
    assert await loop.reconcile() is None
    assert loop.api.writes() == ["apply Service"]


async def test_leftovers_of_a_deleted_deployment_are_removed_first(loop: Loop) -> None:
    await loop.settle()
    loop.api.remove(LLM_DEPLOYMENT)
    await loop.reconcile()
    loop.api.put(llm())
    loop.api.writes()
    assert "of this name must go first" in await loop.failing_reconcile()
    assert loop.api.writes() == ["delete Service", "delete NetworkPolicy", "delete InferenceService"]
    await loop.reconcile()
    assert loop.api.writes()[:3] == CREATED


async def test_leftovers_that_no_watch_has_reported_as_deleted_are_waited_for(loop: Loop) -> None:
    loop.catch_up()
    loop.silent.add(SERVICE)
    await loop.reconcile()
    loop.api.remove(LLM_DEPLOYMENT)
    await loop.reconcile()
    for kind in (NETWORK_POLICY, INFERENCE_SERVICE):
        loop.api.remove(kind)
    loop.api.put(llm())
    assert "belongs to a deleted LLMDeployment of this name" in await loop.failing_reconcile()


async def test_children_of_a_deleted_deployment_are_not_created_again_before_a_watch_reports_the_deletion(
    loop: Loop,
) -> None:
    await loop.settle()
    loop.silent.add(LLM_DEPLOYMENT)
    loop.api.remove(LLM_DEPLOYMENT)
    loop.api.remove(SERVICE)
    assert "was deleted, and no watch has reported it yet" in await loop.failing_reconcile()
    assert loop.api.writes() == []


@pytest.mark.parametrize("is_gone", [True, False], ids=["deleted", "being deleted"])
async def test_orphaned_children_do_not_get_a_deleted_owner_back(loop: Loop, is_gone: bool) -> None:
    await loop.settle()
    loop.silent.add(LLM_DEPLOYMENT)
    if is_gone:
        loop.api.remove(LLM_DEPLOYMENT)
    else:
        deployment = loop.api.get(LLM_DEPLOYMENT)
        loop.api.put(deployment | {"metadata": deployment["metadata"] | {"deletionTimestamp": "2026-11-21T10:00:00Z"}})
    service = loop.api.get(SERVICE)
    loop.api.put(
        service | {"metadata": {key: value for key, value in service["metadata"].items() if key != "ownerReferences"}}
    )
    assert "was deleted, and no watch has reported it yet" in await loop.failing_reconcile()
    assert loop.api.writes() == []


async def test_a_successor_that_no_watch_has_reported_gets_no_status_of_its_predecessor(loop: Loop) -> None:
    await loop.settle()
    loop.silent.add(LLM_DEPLOYMENT)
    loop.api.remove(LLM_DEPLOYMENT)
    loop.api.put(llm())
    loop.api.put(made_by_kserve(1))
    assert "the object has been modified" in await loop.failing_reconcile()
    assert status(loop) == {}


async def test_a_successor_starts_at_zero_whatever_was_written_for_its_predecessor(loop: Loop) -> None:
    await at_zero_with_a_missed_write(loop)
    for kind in (LLM_DEPLOYMENT, SERVICE, NETWORK_POLICY, INFERENCE_SERVICE):
        loop.api.remove(kind)
    loop.api.put(llm())
    await loop.reconcile()
    assert autoscaler_class(loop) == "none"


async def test_an_inference_service_deleted_before_its_last_change_was_reported_is_created_again_at_zero(
    loop: Loop,
) -> None:
    await at_zero_with_a_missed_write(loop)
    loop.api.remove(INFERENCE_SERVICE)
    assert "was deleted meanwhile" in await loop.failing_reconcile()
    await loop.reconcile()
    assert autoscaler_class(loop) == "none"


async def at_zero_with_a_missed_write(loop: Loop) -> None:
    """As if the watches had been cut while a user changed the spec."""
    await loop.reconcile()
    created = loop.api.put(made_by_kserve(owner=loop.api.get(INFERENCE_SERVICE)))
    await loop.settle()
    assert autoscaler_class(loop) == "external"
    loop.silent.add(INFERENCE_SERVICE)
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"engine": {"contextLength": 512}}, "metadata": {"generation": 2}})
    await loop.reconcile()
    loop.silent.clear()
    loop.api.remove(DEPLOYMENT, name=created["metadata"]["name"])


def autoscaler_class(loop: Loop) -> str:
    annotations: dict[str, str] = loop.api.get(INFERENCE_SERVICE)["metadata"]["annotations"]
    return annotations["serving.kserve.io/autoscalerClass"]


# --- drift and change ------------------------------------------------------------------------------------------------


async def test_a_changed_child_is_repaired(loop: Loop) -> None:
    await loop.settle()
    loop.api.change(SERVICE, {"spec": {"selector": {"slipway.dev/llmdeployment": "other"}}})
    await loop.reconcile()
    assert loop.api.writes() == ["apply Service"]
    assert loop.api.get(SERVICE)["spec"]["selector"] == {"slipway.dev/llmdeployment": "llama"}


async def test_a_deleted_child_is_created_again(loop: Loop) -> None:
    await loop.settle()
    loop.api.remove(NETWORK_POLICY)
    await loop.reconcile()
    assert loop.api.writes() == ["apply NetworkPolicy"]


async def test_a_terminating_child_is_created_again_only_when_it_is_gone(loop: Loop) -> None:
    await loop.settle()
    loop.api.change(INFERENCE_SERVICE, {"metadata": {"deletionTimestamp": "2026-11-21T10:00:00Z"}})
    await loop.reconcile()
    assert "apply InferenceService" not in loop.api.writes()
    loop.api.remove(INFERENCE_SERVICE)
    await loop.reconcile()
    assert "apply InferenceService" in loop.api.writes()


async def test_a_child_deleted_during_a_reconcile_is_created_again_by_the_next_one(loop: Loop) -> None:
    """An InferenceService that is rendered as if it still existed would start with a replica."""
    await loop.reconcile()
    loop.api.put(made_by_kserve(owner=loop.api.get(INFERENCE_SERVICE)))
    await loop.settle()
    loop.api.change(SERVICE, {"spec": {"selector": {"slipway.dev/llmdeployment": "other"}}})
    loop.api.then["apply Service"] = lambda: loop.delete(INFERENCE_SERVICE)
    assert "was deleted meanwhile" in await loop.failing_reconcile()
    assert "apply InferenceService" not in loop.api.writes()
    await loop.reconcile()
    annotations = loop.api.get(INFERENCE_SERVICE)["metadata"]["annotations"]
    assert annotations["serving.kserve.io/autoscalerClass"] == "none"


async def test_fields_that_are_not_ours_are_left_alone(loop: Loop) -> None:
    await loop.settle()
    loop.api.change(SERVICE, {"metadata": {"labels": {"team": "blue"}}, "spec": {"sessionAffinity": "ClientIP"}})
    await loop.reconcile()
    assert loop.api.requests == []


async def test_a_change_of_the_spec_is_applied_only_where_it_matters(loop: Loop) -> None:
    await loop.settle()
    loop.api.change(LLM_DEPLOYMENT, {"metadata": {"generation": 2}, "spec": {"access": {"allowFrom": []}}})
    await loop.reconcile()
    assert loop.api.writes() == ["apply NetworkPolicy", "apply-status LLMDeployment"]
    assert status(loop)["observedGeneration"] == 2


async def test_a_manager_that_keeps_changing_a_field_back_is_named_and_not_fought(loop: Loop) -> None:
    await loop.settle()
    for number in range(5):
        loop.api.change(SERVICE, {"spec": {"selector": {"slipway.dev/llmdeployment": f"other-{number}"}}})
        await loop.reconcile()
    loop.api.change(SERVICE, {"spec": {"selector": {"slipway.dev/llmdeployment": "other"}}})
    loop.api.faults["apply Service"] = (409, 'conflict with "rival": .spec.selector')
    loop.api.writes()
    assert await loop.reconcile() == 60.0
    [event] = [request.body for request in loop.api.requests if request.kind.name == "Event"]
    assert (event["reason"], "rival" in event["note"]) == ("FieldsFoughtOver", True)


# --- ownership -------------------------------------------------------------------------------------------------------

OTHER_OWNER = {"apiVersion": "v1", "kind": "ConfigMap", "name": "chief", "uid": "other", "controller": True}


@pytest.mark.parametrize("kind", [SERVICE, NETWORK_POLICY, INFERENCE_SERVICE], ids=str)
@pytest.mark.parametrize(
    "metadata", [{}, {"ownerReferences": [OTHER_OWNER], "labels": LABELS}], ids=["without an owner", "with an owner"]
)
async def test_an_object_that_is_not_ours_is_never_overwritten(loop: Loop, kind: Kind, metadata: Object) -> None:
    theirs = loop.api.put(kube_object(kind, metadata=metadata, spec={"theirs": True}))
    assert await loop.reconcile() == 30.0
    assert loop.api.get(kind) == theirs
    assert state_and_reason(loop) == ("Failed", "NameTaken")
    assert "apply InferenceService" not in loop.api.writes()
    loop.api.remove(kind)
    await loop.reconcile()
    assert loop.api.get(kind) != theirs


@pytest.mark.parametrize("kind", [SERVICE, DEPLOYMENT], ids=str)
@pytest.mark.parametrize(
    "metadata", [{}, {"ownerReferences": [OTHER_OWNER], "labels": LABELS}], ids=["without an owner", "with an owner"]
)
async def test_an_object_that_kserve_would_take_over_is_left_to_its_owner(
    loop: Loop, kind: Kind, metadata: Object
) -> None:
    loop.api.put(kube_object(kind, "llama-predictor", metadata=metadata, spec={"theirs": True}))
    assert await loop.reconcile() == 30.0
    assert state_and_reason(loop) == ("Failed", "NameTaken")
    assert not [write for write in loop.api.writes() if write.startswith("apply ")]


async def test_a_leftover_of_kserve_for_a_deleted_inference_service_is_not_in_the_way(loop: Loop) -> None:
    owner = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "name": "llama", "uid": "gone"}
    loop.api.put(kube_object(SERVICE, "llama-predictor", metadata={"ownerReferences": [{**owner, "controller": True}]}))
    await loop.reconcile()
    assert "apply InferenceService" in loop.api.writes()


async def test_orphans_of_an_earlier_deployment_are_adopted(loop: Loop) -> None:
    loop.api.put(kube_object(SERVICE, metadata={"labels": LABELS}, spec={}))
    await loop.reconcile()
    [owner] = loop.api.get(SERVICE)["metadata"]["ownerReferences"]
    assert owner["uid"] == loop.api.get(LLM_DEPLOYMENT)["metadata"]["uid"]


# --- the platform ----------------------------------------------------------------------------------------------------


async def test_without_kserve_all_other_objects_are_created_and_the_rest_when_it_appears(loop: Loop) -> None:
    loop.api.missing.add(INFERENCE_SERVICE)
    await loop.reconcile()
    assert state_and_reason(loop) == ("Failed", "KServeMissing")
    assert loop.api.writes()[:2] == CREATED[:2]
    loop.api.missing.remove(INFERENCE_SERVICE)
    loop.store.found(INFERENCE_SERVICE)
    await loop.reconcile()
    assert "apply InferenceService" in loop.api.writes()


async def test_without_keda_the_model_cannot_wake_and_says_so(loop: Loop) -> None:
    loop.api.missing.add(SCALED_OBJECT)
    loop.api.put(made_by_kserve())
    await loop.settle()
    assert (status(loop)["state"], condition(loop, "Scaled")["reason"]) == ("Failed", "KedaMissing")


async def test_a_pod_monitor_is_created_if_the_cluster_knows_the_kind_and_deleted_when_unwanted(loop: Loop) -> None:
    loop.api.missing.clear()
    await loop.reconcile()
    assert "apply PodMonitor" in loop.api.writes()
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"observability": {"monitor": False}}})
    await loop.reconcile()
    assert "delete PodMonitor" in loop.api.writes()


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [
        (CLUSTER_SERVING_RUNTIME, "slipway-llamacpp", "RuntimeMissing"),
        (ACCELERATOR_PROFILE, "cpu", "ProfileMissing"),
    ],
    ids=str,
)
async def test_a_missing_object_of_the_plan_is_a_condition_until_it_appears(
    loop: Loop, kind: Kind, name: str, reason: str
) -> None:
    needed = loop.api.get(kind, namespace="", name=name)
    loop.api.remove(kind, namespace="", name=name)
    await loop.reconcile()
    assert state_and_reason(loop) == ("Failed", reason)
    loop.api.put(needed)
    loop.api.writes()
    await loop.reconcile()
    assert loop.api.writes()[:3] == CREATED


# --- replicas, while nothing else scales -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scaling", "found", "kept"),
    [
        ({"minReplicas": 2, "maxReplicas": 4}, 1, 2),
        ({"minReplicas": 1, "maxReplicas": 2}, 5, 2),
        ({"minReplicas": 1, "maxReplicas": 4}, 3, 3),
        ({"minReplicas": 2, "maxReplicas": 4, "autoscaler": "None"}, 3, 2),
    ],
)
async def test_replicas_are_kept_within_their_bounds(loop: Loop, scaling: Object, found: int, kept: int) -> None:
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"scaling": scaling}})
    loop.api.put(made_by_kserve(found))
    await loop.settle()
    assert loop.api.get(DEPLOYMENT, name="llama-predictor")["spec"]["replicas"] == kept


async def test_an_expected_change_is_checked_within_a_minute_though_the_clock_was_set_back(loop: Loop) -> None:
    loop.reader.now = lambda: NOW - timedelta(hours=12)
    await loop.reconcile()
    loop.api.change(INFERENCE_SERVICE, {"metadata": {"creationTimestamp": f"{NOW:%Y-%m-%dT%H:%M:%SZ}"}})
    assert await loop.reconcile() == LONGEST_WAIT


async def test_a_reconcile_is_due_when_the_schedule_changes_the_minimum(loop: Loop) -> None:
    """In the tests it is ten o'clock."""
    entry = {"cron": "0 8 * * *", "duration": "4h", "minReplicas": 2}
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"scaling": {"minReplicas": 1, "maxReplicas": 2, "schedule": [entry]}}})
    loop.api.put(made_by_kserve(1))
    await loop.reconcile()
    assert await loop.reconcile() == 2 * 60 * 60
    assert loop.api.get(DEPLOYMENT, name="llama-predictor")["spec"]["replicas"] == 2
