"""Whole turns of the loop: the world as it is → what is written, what the status says, and when it looks again."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.api.names import activator_slice
from slipway.kube.kinds import (
    ACCELERATOR_PROFILE,
    CLUSTER_SERVING_RUNTIME,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    INFERENCE_SERVICE,
    LLM_DEPLOYMENT,
    NETWORK_POLICY,
    POD,
    POD_MONITOR,
    SCALED_OBJECT,
    SERVICE,
    Kind,
    Object,
)
from slipway.kube.queue import NEVER
from support.small_cluster import KEY, Loop

LABELS = {"slipway.dev/llmdeployment": "llama", "app.kubernetes.io/managed-by": "slipway"}
CREATED = ["apply Service", "apply NetworkPolicy", "apply InferenceService"]


def thing(kind: Kind, name: str = "llama", namespace: str = "chat", **fields: Any) -> Object:
    metadata = {"name": name, **({"namespace": namespace} if kind.namespaced else {}), **fields.pop("metadata", {})}
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, **fields}


def llm(**spec: Any) -> Object:
    return thing(LLM_DEPLOYMENT, spec={"model": {"uri": "pvc://models/llama"}, "engine": {"name": "llamacpp"}, **spec})


def made_by_kserve(replicas: int = 0, *, owner: Object | None = None, **status: Any) -> Object:
    """For the InferenceService `owner`."""
    owners = [{"uid": owner["metadata"]["uid"]}] if owner else []
    return thing(
        DEPLOYMENT,
        "llama-predictor",
        metadata={"labels": LABELS, "ownerReferences": owners},
        spec={"replicas": replicas, "template": {}},
        status={"replicas": replicas, "updatedReplicas": replicas, **status},
    )


@pytest.fixture
def loop() -> Loop:
    """A platform as it should be, and an LLMDeployment that was just created."""
    loop = Loop()
    loop.api.missing = {POD_MONITOR}
    cpu = {"vendor": "CPU", "resource": {"name": "cpu", "count": 1}, "memory": "16Gi"}
    container = {"name": "kserve-container"}
    loop.api.put(thing(ACCELERATOR_PROFILE, "cpu", spec=cpu))
    formats = [{"name": "gguf"}]
    runtime = {"supportedModelFormats": formats, "containers": [container]}
    loop.api.put(thing(CLUSTER_SERVING_RUNTIME, "slipway-llamacpp", spec=runtime))
    loop.api.put(llm())
    return loop


def status(loop: Loop) -> Object:
    found: Object = loop.api.get(LLM_DEPLOYMENT).get("status", {})
    return found


def condition(loop: Loop, type_: str) -> Object:
    [found] = [each for each in status(loop)["conditions"] if each["type"] == type_]
    found_one: Object = found
    return found_one


def cause(loop: Loop) -> tuple[str, str]:
    """The state and the reason for which it isn't ready."""
    return status(loop)["state"], condition(loop, "Ready")["reason"]


# --- from nothing to idle --------------------------------------------------------------------------------------------


async def test_the_first_turn_makes_everything_and_says_so(loop: Loop) -> None:
    assert await loop.turn() is None
    assert loop.api.writes() == [*CREATED, "apply-status LLMDeployment", "create Event"]
    assert status(loop)["message"] == "KServe is making the Deployment of this model."


async def test_a_model_at_zero_becomes_external_once_kserve_has_made_its_deployment_and_is_idle(loop: Loop) -> None:
    await loop.turn()
    loop.api.put(made_by_kserve(owner=loop.api.get(INFERENCE_SERVICE)))
    loop.api.writes()
    await loop.turn()
    annotations = loop.api.get(INFERENCE_SERVICE)["metadata"]["annotations"]
    assert annotations["serving.kserve.io/autoscalerClass"] == "external"
    assert cause(loop) == ("Idle", "ScaledToZero")


async def test_when_nothing_has_changed_nothing_is_written_or_asked(loop: Loop) -> None:
    loop.api.put(made_by_kserve())
    await loop.settle()
    await loop.turn()
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


# --- the end ---------------------------------------------------------------------------------------------------------


async def test_what_is_gone_is_forgotten(loop: Loop) -> None:
    await loop.settle()
    loop.api.remove(LLM_DEPLOYMENT)
    assert await loop.turn() == NEVER
    assert loop.api.requests == []


async def test_what_is_being_deleted_is_left_to_garbage_collection(loop: Loop) -> None:
    await loop.settle()
    loop.api.change(LLM_DEPLOYMENT, {"metadata": {"deletionTimestamp": "2026-11-21T10:00:00Z"}})
    loop.api.remove(SERVICE)
    assert await loop.turn() is None
    assert loop.api.requests == []


async def test_in_a_namespace_that_is_being_deleted_nothing_is_tried_and_nothing_told(loop: Loop) -> None:
    await loop.settle()
    loop.api.remove(SERVICE)
    loop.api.faults["apply Service"] = (403, "unable to create new content because it is being terminated")
    assert await loop.turn() is None
    assert loop.api.writes() == ["apply Service"]


async def test_children_of_a_predecessor_are_waited_for(loop: Loop) -> None:
    await loop.settle()
    loop.api.remove(LLM_DEPLOYMENT)
    await loop.turn()
    loop.api.put(llm())
    assert "belongs to an LLMDeployment of this name that is gone" in await loop.failing_turn()
    assert loop.api.writes() == []


# --- drift and change ------------------------------------------------------------------------------------------------


async def test_a_child_that_somebody_changed_is_repaired(loop: Loop) -> None:
    await loop.settle()
    loop.api.change(SERVICE, {"spec": {"selector": {"slipway.dev/llmdeployment": "other"}}})
    await loop.turn()
    assert loop.api.writes() == ["apply Service"]
    assert loop.api.get(SERVICE)["spec"]["selector"] == {"slipway.dev/llmdeployment": "llama"}


async def test_a_child_that_somebody_deleted_is_made_again(loop: Loop) -> None:
    await loop.settle()
    loop.api.remove(NETWORK_POLICY)
    await loop.turn()
    assert loop.api.writes() == ["apply NetworkPolicy"]


async def test_a_child_that_is_being_deleted_is_made_again_only_when_it_has_gone(loop: Loop) -> None:
    await loop.settle()
    loop.api.change(INFERENCE_SERVICE, {"metadata": {"deletionTimestamp": "2026-11-21T10:00:00Z"}})
    await loop.turn()
    assert "apply InferenceService" not in loop.api.writes()
    loop.api.remove(INFERENCE_SERVICE)
    await loop.turn()
    assert "apply InferenceService" in loop.api.writes()


async def test_what_ends_in_the_middle_of_a_turn_is_made_again_by_the_next_which_sees_that(loop: Loop) -> None:
    """An InferenceService that is rendered as if it were there still would begin with a replica."""
    await loop.turn()
    loop.api.put(made_by_kserve(owner=loop.api.get(INFERENCE_SERVICE)))
    await loop.settle()
    loop.api.change(SERVICE, {"spec": {"selector": {"slipway.dev/llmdeployment": "other"}}})
    loop.api.then["apply Service"] = lambda: loop.end(INFERENCE_SERVICE)
    assert "has ended meanwhile" in await loop.failing_turn()
    assert "apply InferenceService" not in loop.api.writes()
    await loop.turn()
    annotations = loop.api.get(INFERENCE_SERVICE)["metadata"]["annotations"]
    assert annotations["serving.kserve.io/autoscalerClass"] == "none"


async def test_fields_that_are_not_ours_are_left_alone(loop: Loop) -> None:
    await loop.settle()
    loop.api.change(SERVICE, {"metadata": {"labels": {"team": "blue"}}, "spec": {"sessionAffinity": "ClientIP"}})
    await loop.turn()
    assert loop.api.requests == []


async def test_a_change_of_the_spec_is_applied_where_it_matters_only(loop: Loop) -> None:
    await loop.settle()
    loop.api.change(LLM_DEPLOYMENT, {"metadata": {"generation": 2}, "spec": {"access": {"allowFrom": []}}})
    await loop.turn()
    assert loop.api.writes() == ["apply NetworkPolicy", "apply-status LLMDeployment"]
    assert status(loop)["observedGeneration"] == 2


async def test_whoever_changes_a_field_back_each_time_is_named_and_not_fought(loop: Loop) -> None:
    await loop.settle()
    for number in range(5):
        loop.api.change(SERVICE, {"spec": {"selector": {"slipway.dev/llmdeployment": f"other-{number}"}}})
        await loop.turn()
    loop.api.change(SERVICE, {"spec": {"selector": {"slipway.dev/llmdeployment": "other"}}})
    loop.api.faults["apply Service"] = (409, 'conflict with "rival": .spec.selector')
    loop.api.writes()
    assert await loop.turn() == 60.0
    [event] = [request.body for request in loop.api.requests if request.kind.name == "Event"]
    assert (event["reason"], "rival" in event["note"]) == ("FieldsFoughtOver", True)


# --- whose it is -----------------------------------------------------------------------------------------------------

SOMEBODY = {"apiVersion": "v1", "kind": "ConfigMap", "name": "chief", "uid": "other", "controller": True}


@pytest.mark.parametrize("kind", [SERVICE, NETWORK_POLICY, INFERENCE_SERVICE], ids=str)
@pytest.mark.parametrize("metadata", [{}, {"ownerReferences": [SOMEBODY], "labels": LABELS}], ids=["nobody's", "owned"])
async def test_an_object_that_is_not_ours_is_never_overwritten(loop: Loop, kind: Kind, metadata: Object) -> None:
    theirs = loop.api.put(thing(kind, metadata=metadata, spec={"theirs": True}))
    assert await loop.turn() == 30.0
    assert loop.api.get(kind) == theirs
    assert cause(loop) == ("Failed", "NameTaken")
    assert "apply InferenceService" not in loop.api.writes()
    loop.api.remove(kind)
    await loop.turn()
    assert loop.api.get(kind) != theirs


async def test_what_an_earlier_deployment_left_behind_on_purpose_is_adopted(loop: Loop) -> None:
    loop.api.put(thing(SERVICE, metadata={"labels": LABELS}, spec={}))
    await loop.turn()
    [owner] = loop.api.get(SERVICE)["metadata"]["ownerReferences"]
    assert owner["uid"] == loop.api.get(LLM_DEPLOYMENT)["metadata"]["uid"]


# --- the platform ----------------------------------------------------------------------------------------------------


async def test_without_kserve_all_else_is_made_and_the_rest_when_it_appears(loop: Loop) -> None:
    loop.api.missing.add(INFERENCE_SERVICE)
    await loop.turn()
    assert cause(loop) == ("Failed", "KServeMissing")
    assert loop.api.writes()[:2] == CREATED[:2]
    loop.api.missing.remove(INFERENCE_SERVICE)
    loop.store.found(INFERENCE_SERVICE)
    await loop.turn()
    assert "apply InferenceService" in loop.api.writes()


async def test_without_keda_the_model_can_not_wake_and_says_so(loop: Loop) -> None:
    loop.api.missing.add(SCALED_OBJECT)
    loop.api.put(made_by_kserve())
    await loop.settle()
    assert (status(loop)["state"], condition(loop, "Scaled")["reason"]) == ("Failed", "KedaMissing")


async def test_a_pod_monitor_is_made_where_the_cluster_knows_the_kind_and_deleted_when_unwanted(loop: Loop) -> None:
    loop.api.missing.clear()
    await loop.turn()
    assert "apply PodMonitor" in loop.api.writes()
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"observability": {"monitor": False}}})
    await loop.turn()
    assert "delete PodMonitor" in loop.api.writes()


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [
        (CLUSTER_SERVING_RUNTIME, "slipway-llamacpp", "RuntimeMissing"),
        (ACCELERATOR_PROFILE, "cpu", "ProfileMissing"),
    ],
    ids=str,
)
async def test_what_the_plan_needs_and_is_not_there_is_a_condition_until_it_appears(
    loop: Loop, kind: Kind, name: str, reason: str
) -> None:
    needed = loop.api.get(kind, namespace="", name=name)
    loop.api.remove(kind, namespace="", name=name)
    await loop.turn()
    assert cause(loop) == ("Failed", reason)
    loop.api.put(needed)
    loop.api.writes()
    await loop.turn()
    assert loop.api.writes()[:3] == CREATED


# --- the activator ---------------------------------------------------------------------------------------------------

EXTRA = activator_slice("llama")


def activator(*addresses: str) -> Object:
    """The slice of the activator's own Service, as Kubernetes keeps it."""
    labels = {"app.kubernetes.io/managed-by": "slipway", "kubernetes.io/service-name": "slipway-activator"}
    endpoints = [{"addresses": [address], "conditions": {"ready": True}} for address in addresses]
    return thing(
        ENDPOINT_SLICE, "slipway-activator-1", "slipway-system", metadata={"labels": labels}, endpoints=endpoints
    )


def pod(*, is_ready: bool) -> Object:
    conditions = [{"type": "Ready", "status": str(is_ready), "lastTransitionTime": "2026-11-21T09:59:00Z"}]
    spec = {"containers": [{"name": "kserve-container"}]}
    metadata = {"labels": LABELS, "creationTimestamp": "2026-11-21T09:58:00Z"}
    return thing(POD, "llama-predictor-1", metadata=metadata, spec=spec, status={"conditions": conditions})


def leads(loop: Loop) -> list[bool]:
    """Of each endpoint of the extra slice: whether requests go there, or it stands by."""
    return [each["conditions"]["ready"] for each in loop.api.get(ENDPOINT_SLICE, name=EXTRA)["endpoints"]]


@pytest.fixture
def with_activator(loop: Loop) -> Loop:
    loop.api.put(activator("10.0.0.8", "10.0.0.9"))
    return loop


async def test_a_model_at_zero_is_reached_through_the_activator_and_scaled_by_keda(with_activator: Loop) -> None:
    loop = with_activator
    await loop.turn()
    assert loop.api.writes()[:2] == ["apply Service", "apply EndpointSlice"]
    loop.api.put(made_by_kserve(owner=loop.api.get(INFERENCE_SERVICE)))
    await loop.settle()
    assert loop.api.get(SCALED_OBJECT)
    assert leads(loop) == [True, True]
    assert cause(loop) == ("Idle", "ScaledToZero")
    assert condition(loop, "Reachable")["status"] == "True"
    await loop.turn()
    assert loop.api.requests == []


async def test_the_slice_follows_the_replicas_that_are_ready(with_activator: Loop) -> None:
    loop = with_activator
    for is_ready in (False, True, False, True):
        loop.api.put(pod(is_ready=is_ready))
        await loop.settle()
        assert leads(loop) == [not is_ready] * 2


async def test_the_slice_follows_the_activators_replicas(with_activator: Loop) -> None:
    loop = with_activator
    await loop.settle()
    loop.api.put(activator("10.0.0.7"))
    await loop.turn()
    assert loop.api.writes() == ["apply EndpointSlice"]
    assert [each["addresses"] for each in loop.api.get(ENDPOINT_SLICE, name=EXTRA)["endpoints"]] == [["10.0.0.7"]]
    loop.api.put(activator())
    await loop.settle()
    assert condition(loop, "Reachable")["reason"] == "ActivatorUnavailable"


async def test_a_deployment_keeps_its_port(with_activator: Loop) -> None:
    loop = with_activator
    await loop.settle()
    annotation = {"slipway.dev/activator-port": "20123"}
    port = loop.api.get(SERVICE)["metadata"]["annotations"]["slipway.dev/activator-port"]
    loop.api.change(SERVICE, {"metadata": {"annotations": annotation}})
    await loop.turn()
    assert loop.api.get(SERVICE)["metadata"]["annotations"]["slipway.dev/activator-port"] == port


async def test_keda_scales_alone_where_it_is_asked_to(with_activator: Loop) -> None:
    loop = with_activator
    loop.api.put(made_by_kserve(replicas=7))
    await loop.settle()
    loop.api.change(DEPLOYMENT, {"spec": {"replicas": 9}}, name="llama-predictor")
    await loop.turn()
    assert "scale Deployment" not in loop.api.writes()


# --- replicas, as long as nothing else scales ------------------------------------------------------------------------


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


# --- when a call fails -----------------------------------------------------------------------------------------------

REFUSED = (403, 'admission webhook "policy" denied the request: no')
WRONG = (422, 'Service "llama" is invalid: spec.ports: Required value')
QUOTA = (403, "exceeded quota: objects, requested: count/services=1")
WEBHOOK_DOWN = (500, 'Internal error occurred: failed calling webhook "kserve": connection refused')
BUSY = (429, "too many requests")
CHANGED = (409, "the object has been modified")
NO_RIGHT = (403, 'cannot patch resource "services" in API group ""')

FAILURES = [
    # the call, what is answered, the state and reason that people see, what else is written
    ("apply Service", REFUSED, ("Failed", "AdmissionDenied"), []),
    ("apply Service", WRONG, ("Failed", "InvalidSpec"), []),
    ("apply Service", QUOTA, ("Waking", "QuotaExceeded"), []),
    ("apply Service", NO_RIGHT, ("Failed", "PermissionDenied"), []),
    ("apply NetworkPolicy", REFUSED, ("Failed", "AdmissionDenied"), ["apply Service"]),
    ("apply InferenceService", REFUSED, ("Failed", "AdmissionDenied"), ["apply Service", "apply NetworkPolicy"]),
    ("apply InferenceService", WEBHOOK_DOWN, ("Waking", "ApiError"), ["apply Service", "apply NetworkPolicy"]),
]


@pytest.mark.parametrize(("call", "answer", "told", "others"), FAILURES)
async def test_a_refusal_is_told_and_tried_again(
    loop: Loop, call: str, answer: tuple[int, str], told: tuple[str, str], others: list[str]
) -> None:
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"scaling": {"minReplicas": 1}}})
    loop.api.faults[call] = answer
    assert "was refused" in await loop.failing_turn()
    assert cause(loop) == told
    assert [each for each in loop.api.writes() if each.startswith("apply ") and each != call] == others
    loop.api.faults.clear()
    await loop.turn()
    assert call in loop.api.writes()
    assert condition(loop, "Stalled")["status"] == "False"


@pytest.mark.parametrize("call", ["get Service", "apply Service", "apply InferenceService"])
@pytest.mark.parametrize("answer", [BUSY, None, CHANGED], ids=["busy", "silent", "conflict"])
async def test_a_call_that_finds_nobody_is_tried_again_and_tells_nothing_wrong(
    loop: Loop, call: str, answer: tuple[int, str] | None
) -> None:
    loop.api.faults[call] = answer
    await loop.failing_turn()
    assert status(loop) == {}
    loop.api.faults.clear()
    await loop.turn()
    assert status(loop)["message"] == "KServe is making the Deployment of this model."


@pytest.mark.parametrize("answer", [BUSY, None, NO_RIGHT, CHANGED])
async def test_a_status_that_could_not_be_written_is_written_by_a_later_turn(
    loop: Loop, answer: tuple[int, str] | None
) -> None:
    loop.api.faults["apply-status LLMDeployment"] = answer
    await loop.failing_turn()
    loop.api.faults.clear()
    loop.api.writes()
    await loop.turn()
    assert loop.api.writes() == ["apply-status LLMDeployment", "create Event"]


async def test_a_status_for_an_object_that_has_just_gone_is_no_failure(loop: Loop) -> None:
    loop.api.faults["apply-status LLMDeployment"] = (404, "not found")
    assert await loop.turn() is None


async def test_an_event_that_can_not_be_written_stops_nothing(loop: Loop) -> None:
    loop.api.faults["create Event"] = REFUSED
    assert await loop.turn() is None


async def test_replicas_that_can_not_be_changed_are_tried_again(loop: Loop) -> None:
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"scaling": {"minReplicas": 2, "maxReplicas": 2}}})
    loop.api.put(made_by_kserve(1))
    loop.api.faults["scale Deployment"] = NO_RIGHT
    assert "Deployment llama-predictor was refused" in await loop.failing_turn()
    assert cause(loop) == ("Failed", "PermissionDenied")
    loop.api.faults.clear()
    await loop.turn()
    assert loop.api.get(DEPLOYMENT, name="llama-predictor")["spec"]["replicas"] == 2


async def test_a_deletion_that_fails_is_tried_again(loop: Loop) -> None:
    loop.api.missing.clear()
    await loop.settle()
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"observability": {"monitor": False}}})
    loop.api.faults["delete PodMonitor"] = NO_RIGHT
    assert "PodMonitor llama was refused" in await loop.failing_turn()
    loop.api.faults.clear()
    await loop.turn()
    assert "delete PodMonitor" in loop.api.writes()


# --- what can't be acted on ------------------------------------------------------------------------------------------


async def test_an_object_that_can_not_be_read_is_told_with_the_field_and_the_remedy(loop: Loop) -> None:
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"scaling": {"minReplicas": "many"}}})
    await loop.turn()
    assert cause(loop) == ("Failed", "InvalidSpec")
    assert "spec.scaling.minReplicas: " in status(loop)["message"]
    assert loop.api.writes() == ["apply-status LLMDeployment", "create Event"]


async def test_an_object_on_which_the_code_fails_is_stalled_with_the_error_and_tried_again(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise KeyError("poison")

    monkeypatch.setattr("slipway.reconciling.deciding.render", fail)
    assert await loop.failing_turn() == "KeyError: 'poison'"
    assert cause(loop) == ("Failed", "InternalError")
    assert "KeyError: 'poison'" in status(loop)["message"]
    loop.api.writes()
    await loop.failing_turn()
    assert loop.api.writes() == []


async def test_a_wish_that_is_not_carried_out_is_named_in_the_plan(loop: Loop) -> None:
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"model": {"uri": "pvc://models/llama", "cache": {"kind": "Node"}}}})
    await loop.turn()
    assert any(why.startswith("model.cache:") for why in status(loop)["plan"]["why"])
