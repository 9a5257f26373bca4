"""Reconciles in which a call fails or an object can't be processed: that is reported and retried."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.objects.kinds import DEPLOYMENT, LLM_DEPLOYMENT, REPLICA_SET, Object
from support.builders.stored import LABELS, kube_object, llm, made_by_kserve, pod
from support.programs.operator_loop import Loop, condition, state_and_reason, status

# --- when a call fails -----------------------------------------------------------------------------------------------

REFUSED = (403, 'admission webhook "policy" denied the request: no')
WRONG = (422, 'Service "llama" is invalid: spec.ports: Required value')
QUOTA = (403, "exceeded quota: objects, requested: count/services=1")
WEBHOOK_DOWN = (500, 'Internal error occurred: failed calling webhook "policy": connection refused')
KSERVE_S_DOWN = (500, 'Internal error occurred: failed calling webhook "a.kserve-webhook-server.b": no endpoints')
KEDA_S_DOWN = (500, 'Internal error occurred: failed calling webhook "vscaledobject.kb.io": no endpoints available')
BUSY = (429, "too many requests")
CHANGED = (409, "the object has been modified")
NO_RIGHT = (403, 'cannot patch resource "services" in API group ""')

FAILURES = [
    # the call, the response, the state and reason in the status, what else is written
    ("apply Service", REFUSED, ("Failed", "AdmissionDenied"), []),
    ("apply Service", WRONG, ("Failed", "InvalidSpec"), []),
    ("apply Service", QUOTA, ("Waking", "QuotaExceeded"), []),
    ("apply Service", NO_RIGHT, ("Failed", "PermissionDenied"), []),
    ("apply NetworkPolicy", REFUSED, ("Failed", "AdmissionDenied"), ["apply Service"]),
    ("apply InferenceService", REFUSED, ("Failed", "AdmissionDenied"), ["apply Service", "apply NetworkPolicy"]),
    ("apply InferenceService", WEBHOOK_DOWN, ("Waking", "ApiError"), ["apply Service", "apply NetworkPolicy"]),
    ("apply InferenceService", KSERVE_S_DOWN, ("Waking", "KServeDown"), ["apply Service", "apply NetworkPolicy"]),
    ("apply NetworkPolicy", KEDA_S_DOWN, ("Waking", "KedaDown"), ["apply Service"]),
]


async def test_an_unreadable_status_is_replaced(loop: Loop) -> None:
    invalid = {"state": "Sleepy", "lastColdStart": {"load": "soon"}, "plan": {"maxConcurrency": -1}}
    loop.api.change(LLM_DEPLOYMENT, {"status": invalid})
    await loop.reconcile()
    written = next(each.body["status"] for each in loop.api.requests if each.verb == "apply-status")
    assert (written["state"], written["lastColdStart"]) == ("Idle", {})


@pytest.mark.parametrize(("call", "answer", "expected", "others"), FAILURES)
async def test_a_refusal_is_reported_and_retried(
    loop: Loop, call: str, answer: tuple[int, str], expected: tuple[str, str], others: list[str]
) -> None:
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"scaling": {"minReplicas": 1}}})
    loop.api.faults[call] = answer
    assert "was refused" in await loop.failing_reconcile()
    assert state_and_reason(loop) == expected
    assert [each for each in loop.api.writes() if each.startswith("apply ") and each != call] == others
    loop.api.faults.clear()
    await loop.reconcile()
    assert call in loop.api.writes()
    assert condition(loop, "Stalled")["status"] == "False"


@pytest.mark.parametrize("call", ["get Service", "apply Service", "apply InferenceService"])
@pytest.mark.parametrize("answer", [BUSY, None, CHANGED], ids=["busy", "silent", "conflict"])
async def test_a_temporary_failure_of_a_call_is_retried_without_a_wrong_status(
    loop: Loop, call: str, answer: tuple[int, str] | None
) -> None:
    loop.api.faults[call] = answer
    await loop.failing_reconcile()
    assert status(loop) == {}
    loop.api.faults.clear()
    await loop.reconcile()
    assert status(loop)["message"] == "The Deployment and the Service of this model are being created."


@pytest.mark.parametrize("answer", [BUSY, None, NO_RIGHT, CHANGED])
async def test_a_status_that_could_not_be_written_is_written_by_a_later_reconcile(
    loop: Loop, answer: tuple[int, str] | None
) -> None:
    loop.api.faults["apply-status LLMDeployment"] = answer
    await loop.failing_reconcile()
    loop.api.faults.clear()
    loop.api.writes()
    await loop.reconcile()
    assert loop.api.writes() == ["apply-status LLMDeployment", "create Event"]


async def test_a_status_whose_write_got_no_response_causes_one_event(loop: Loop) -> None:
    loop.api.unanswered.add("apply-status LLMDeployment")
    await loop.failing_reconcile()
    assert "create Event" not in loop.api.writes()
    loop.api.unanswered.clear()
    await loop.reconcile()
    await loop.reconcile()
    assert loop.api.writes() == ["create Event"]


async def test_a_status_for_an_object_that_was_just_deleted_is_not_a_failure(loop: Loop) -> None:
    loop.api.faults["apply-status LLMDeployment"] = (404, "not found")
    assert await loop.reconcile() is None


async def test_an_event_that_cannot_be_written_stops_nothing(loop: Loop) -> None:
    loop.api.faults["create Event"] = REFUSED
    assert await loop.reconcile() is None


async def test_a_failed_change_of_the_replicas_is_retried(loop: Loop) -> None:
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"scaling": {"minReplicas": 2, "maxReplicas": 2}}})
    loop.api.put(made_by_kserve(1))
    loop.api.faults["scale Deployment"] = NO_RIGHT
    assert "Deployment llama-predictor was refused" in await loop.failing_reconcile()
    assert state_and_reason(loop) == ("Failed", "PermissionDenied")
    loop.api.faults.clear()
    await loop.reconcile()
    assert loop.api.get(DEPLOYMENT, name="llama-predictor")["spec"]["replicas"] == 2


async def test_a_failed_deletion_is_retried(loop: Loop) -> None:
    loop.api.missing.clear()
    await loop.settle()
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"observability": {"monitor": False}}})
    loop.api.faults["delete PodMonitor"] = NO_RIGHT
    assert "PodMonitor llama was refused" in await loop.failing_reconcile()
    loop.api.faults.clear()
    await loop.reconcile()
    assert "delete PodMonitor" in loop.api.writes()


# --- what can't be processed -----------------------------------------------------------------------------------------


async def test_an_invalid_object_is_reported_with_the_field_and_the_remedy(loop: Loop) -> None:
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"scaling": {"minReplicas": "many"}}})
    await loop.reconcile()
    assert state_and_reason(loop) == ("Failed", "InvalidSpec")
    assert "spec.scaling.minReplicas: " in status(loop)["message"]
    assert loop.api.writes() == ["apply-status LLMDeployment", "create Event"]


async def test_an_object_on_which_the_code_fails_is_stalled_with_the_error_and_retried(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise KeyError("poison")

    monkeypatch.setattr("slipway.operator.reconciling.deciding.render", fail)
    assert await loop.failing_reconcile() == "KeyError: 'poison'"
    assert state_and_reason(loop) == ("Failed", "InternalError")
    assert "KeyError: 'poison'" in status(loop)["message"]
    loop.api.writes()
    await loop.failing_reconcile()
    assert loop.api.writes() == []


async def test_a_field_that_has_no_effect_is_named_in_the_plan(loop: Loop) -> None:
    canary = {"strategy": "Canary", "canary": {"steps": [{"weight": 5}]}}
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"rollout": canary}})
    await loop.reconcile()
    assert any(why.startswith("rollout.strategy:") for why in status(loop)["plan"]["why"])


# --- a failure of the spec before ------------------------------------------------------------------------------------


def replica_set(version: str, revision: int) -> Object:
    metadata = {
        "labels": {**LABELS, "pod-template-hash": version},
        "annotations": {"deployment.kubernetes.io/revision": str(revision)},
    }
    return kube_object(REPLICA_SET, f"llama-predictor-{version}", metadata=metadata, spec={"replicas": 1}, status={})


def failing(version: str) -> Object:
    found = pod(is_ready=False)
    said = {"exitCode": 1, "reason": "Error", "message": "error: unrecognized arguments: --nope"}
    statuses = [{"name": "kserve-container", "ready": False, "restartCount": 0, "state": {"terminated": said}}]
    return {
        **found,
        "metadata": {**found["metadata"], "labels": {**LABELS, "pod-template-hash": version}},
        "status": {**found["status"], "phase": "Running", "containerStatuses": statuses},
    }


async def test_a_failure_of_the_spec_before_is_none_of_the_present_spec(loop: Loop) -> None:
    """Until the pods are replaced, they still show it."""
    wrong = {"name": "llamacpp", "extraArgs": ["--chat-template={% for %}"]}
    loop.api.put(llm(engine=wrong, scaling={"autoscaler": "None", "minReplicas": 1}))
    loop.api.put(made_by_kserve(1))
    loop.api.put(replica_set("1", 1))
    loop.api.put(failing("1"))
    await loop.settle()
    assert (status(loop)["state"], condition(loop, "Stalled")["status"]) == ("Failed", "True")

    loop.api.change(LLM_DEPLOYMENT, {"spec": {"engine": {"extraArgs": []}}})
    await loop.reconcile()
    assert (status(loop)["state"], condition(loop, "Stalled")["status"]) == ("Updating", "False")
    assert condition(loop, "Stalled")["observedGeneration"] == status(loop)["observedGeneration"]

    loop.api.put(replica_set("2", 2))
    await loop.reconcile()
    assert condition(loop, "Stalled")["status"] == "False"


async def test_the_pods_of_a_corrected_spec_count_even_while_the_status_cannot_be_written(loop: Loop) -> None:
    wrong = {"name": "llamacpp", "extraArgs": ["--chat-template={% for %}"]}
    loop.api.put(llm(engine=wrong, scaling={"autoscaler": "None", "minReplicas": 1}))
    loop.api.put(made_by_kserve(1))
    loop.api.put(replica_set("1", 1))
    loop.api.put(failing("1"))
    await loop.settle()

    loop.api.change(LLM_DEPLOYMENT, {"spec": {"engine": {"extraArgs": []}}})
    loop.api.faults["apply-status LLMDeployment"] = BUSY
    await loop.failing_reconcile()
    loop.api.put(replica_set("2", 2))
    loop.api.put(failing("2"))
    await loop.failing_reconcile()
    loop.api.faults.clear()
    await loop.reconcile()
    assert status(loop)["state"] == "Failed"


async def test_a_change_that_concerns_no_pod_leaves_the_failure_as_it_is(loop: Loop) -> None:
    wrong = {"name": "llamacpp", "extraArgs": ["--chat-template={% for %}"]}
    loop.api.put(llm(engine=wrong, scaling={"autoscaler": "None", "minReplicas": 1}))
    loop.api.put(made_by_kserve(1))
    loop.api.put(replica_set("1", 1))
    loop.api.put(failing("1"))
    await loop.settle()
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"scaling": {"maxReplicas": 2}}})
    await loop.reconcile()
    assert condition(loop, "Stalled")["status"] == "True"
