"""Reconciles with an installed activator: where requests go, and on which port."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from slipway.api.names import WAKE_ANNOTATION, activator_slice_name
from slipway.objects.kinds import (
    CONFIG_MAP,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    EVENT,
    HORIZONTAL_POD_AUTOSCALER,
    INFERENCE_SERVICE,
    LLM_DEPLOYMENT,
    SCALED_OBJECT,
    SERVICE,
    SUBJECT_ACCESS_REVIEW,
    Object,
)
from slipway.observing.porttable import PORTS, ActivatorPort
from slipway.observing.scaling_step import Followed, page_of
from support.builders.llmdeployments import CLASS
from support.builders.stored import activator, made_by_kserve, pod
from support.fakes.api_server import KEY
from support.programs.operator_loop import NOW, Loop, condition, state_and_reason, status

EXTRA = activator_slice_name("llama")


def leads_to_port(loop: Loop) -> int:
    port: int = loop.api.get(ENDPOINT_SLICE, name=EXTRA)["ports"][0]["port"]
    return port


def table(loop: Loop) -> dict[int, str]:
    tables = [obj for (kind, *_), obj in loop.api.objects.items() if kind == CONFIG_MAP]
    return {int(port): line for each in tables for port, line in each["data"].items()}


def leads(loop: Loop) -> list[bool]:
    """Returns for each endpoint of the extra slice whether requests go there."""
    return [each["conditions"]["ready"] for each in loop.api.get(ENDPOINT_SLICE, name=EXTRA)["endpoints"]]


@pytest.fixture
def with_activator(loop: Loop) -> Loop:
    loop.api.put(activator("10.0.0.8", "10.0.0.9"))
    return loop


async def test_a_model_at_zero_is_reached_through_the_activator_and_scaled_by_keda(with_activator: Loop) -> None:
    loop = with_activator
    await loop.reconcile()
    assert loop.api.writes()[:3] == ["create ConfigMap", "apply Service", "apply EndpointSlice"]
    loop.api.put(made_by_kserve(owner=loop.api.get(INFERENCE_SERVICE)))
    await loop.settle()
    assert loop.api.get(SCALED_OBJECT)
    assert leads(loop) == [True, True]
    assert state_and_reason(loop) == ("Idle", "ScaledToZero")
    assert condition(loop, "Reachable")["status"] == "True"
    await loop.reconcile()
    assert loop.api.requests == []


async def test_keda_scales_only_what_kserve_no_longer_keeps_at_zero(with_activator: Loop) -> None:
    loop = with_activator
    await loop.reconcile()
    made = made_by_kserve(owner=loop.api.get(INFERENCE_SERVICE))
    made["metadata"]["annotations"] = {CLASS: "none"}
    loop.api.put(made)
    await loop.settle()
    assert loop.api.get(INFERENCE_SERVICE)["metadata"]["annotations"][CLASS] == "external"
    assert (SCALED_OBJECT, "chat", "llama") not in loop.api.objects
    loop.api.change(DEPLOYMENT, {"metadata": {"annotations": {CLASS: "external"}}}, name="llama-predictor")
    await loop.settle()
    assert loop.api.get(SCALED_OBJECT)


async def test_the_slice_follows_the_ready_replicas(with_activator: Loop) -> None:
    loop = with_activator
    for is_ready in (False, True, False, True):
        loop.api.put(pod(is_ready=is_ready))
        await loop.settle()
        assert leads(loop) == [not is_ready] * 2


async def test_the_slice_follows_the_replicas_of_the_activator(with_activator: Loop) -> None:
    loop = with_activator
    await loop.settle()
    loop.api.put(activator("10.0.0.7"))
    await loop.reconcile()
    assert loop.api.writes() == ["apply EndpointSlice"]
    assert [each["addresses"] for each in loop.api.get(ENDPOINT_SLICE, name=EXTRA)["endpoints"]] == [["10.0.0.7"]]
    loop.api.put(activator())
    await loop.settle()
    assert condition(loop, "Reachable")["reason"] == "ActivatorUnavailable"


async def test_a_deployment_keeps_its_port(with_activator: Loop) -> None:
    loop = with_activator
    await loop.settle()
    port = leads_to_port(loop)
    loop.take_over()  # another leader takes over
    await loop.settle()
    assert leads_to_port(loop) == port


async def test_no_slice_leads_to_a_port_before_the_table_assigns_it(with_activator: Loop) -> None:
    loop = with_activator
    loop.api.faults["create ConfigMap"] = 503, "etcd is away"
    assert "ConfigMap" in await loop.failing_reconcile()
    assert (ENDPOINT_SLICE, "chat", EXTRA) not in loop.api.objects
    loop.api.faults.clear()
    await loop.settle()
    assert table(loop)[leads_to_port(loop)].startswith("chat/llama uid-")


async def test_without_an_activator_no_deployment_gets_a_port(loop: Loop) -> None:
    await loop.settle()
    assert table(loop) == {}


async def test_if_no_port_is_left_the_status_says_so_and_nothing_else_is_created(with_activator: Loop) -> None:
    loop = with_activator
    loop.ports._per_namespace = 0
    loop.ports.start_over()
    await loop.reconcile()
    assert loop.api.writes() == ["apply-status LLMDeployment", "create Event"]
    assert state_and_reason(loop) == ("Failed", "PortsExhausted")
    assert "delete one, or ask for a higher limit" in status(loop)["message"]


async def test_the_second_activator_gets_requests_and_polls_for_a_port_of_its_own(with_activator: Loop) -> None:
    loop = with_activator
    await loop.settle()
    loop.api.put(made_by_kserve(owner=loop.api.get(INFERENCE_SERVICE)))
    loop.api.remove(ENDPOINT_SLICE, namespace="slipway-system", name="slipway-activator-1")
    loop.api.remove(CONFIG_MAP, namespace="slipway-system", name="slipway-activator-ports-00")
    loop.ports.start_over()
    loop.api.put(activator("10.0.0.20", service="slipway-activator-2"))
    await loop.settle()
    assert loop.api.get(CONFIG_MAP, namespace="slipway-system", name="slipway-activator-2-ports-00")
    [endpoint] = loop.api.get(ENDPOINT_SLICE, name=EXTRA)["endpoints"]
    assert endpoint["addresses"] == ["10.0.0.20"]
    [trigger] = loop.api.get(SCALED_OBJECT)["spec"]["triggers"]
    assert trigger["metadata"]["scalerAddress"] == "slipway-activator-2.slipway-system:9090"


async def test_only_keda_scales_if_it_is_the_chosen_autoscaler(with_activator: Loop) -> None:
    loop = with_activator
    loop.api.put(made_by_kserve(replicas=7))
    await loop.settle()
    loop.api.change(DEPLOYMENT, {"spec": {"replicas": 9}}, name="llama-predictor")
    await loop.reconcile()
    assert "scale Deployment" not in loop.api.writes()


async def test_the_old_autoscaler_is_deleted_before_the_new_one_is_created(with_activator: Loop) -> None:
    loop = with_activator
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"scaling": {"minReplicas": 1, "maxReplicas": 3}}})
    loop.api.put(made_by_kserve(replicas=2))
    await loop.settle()
    for before, after in ((SCALED_OBJECT, HORIZONTAL_POD_AUTOSCALER), (HORIZONTAL_POD_AUTOSCALER, SCALED_OBJECT)):
        autoscaler = "HPA" if after is HORIZONTAL_POD_AUTOSCALER else "KEDA"
        loop.api.change(LLM_DEPLOYMENT, {"spec": {"scaling": {"autoscaler": autoscaler}}})
        await loop.reconcile()
        assert of_scaling(loop) == [f"delete {before}"]
        await loop.reconcile()
        assert of_scaling(loop) == [f"apply {after}"]
    await loop.settle()
    await loop.reconcile()
    assert loop.api.requests == []


def of_scaling(loop: Loop) -> list[str]:
    kinds = (str(SCALED_OBJECT), str(HORIZONTAL_POD_AUTOSCALER), str(DEPLOYMENT))
    return [write for write in loop.api.writes() if write.endswith(kinds)]


async def test_a_model_that_any_key_wakes_says_so(with_activator: Loop) -> None:
    loop = with_activator
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"access": {"apiKeysSecret": "keys"}}})
    loop.api.allows = False
    await loop.reconcile()
    [remark] = [each for each in status(loop)["plan"]["why"] if each.startswith("access.apiKeysSecret")]
    assert "apply manifests/samples/keys-at-zero.yaml" in remark
    loop.api.allows = True
    await loop.settle(turns=10)
    assert not [each for each in status(loop)["plan"]["why"] if each.startswith("access.apiKeysSecret")]


async def test_the_activator_with_the_port_is_the_one_that_must_be_allowed_to_read_the_keys(
    with_activator: Loop,
) -> None:
    """Already when the port is given: the review used to be about the first activator."""
    loop = with_activator
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"access": {"apiKeysSecret": "keys"}}})
    loop.api.put(activator("10.0.0.20", service="slipway-activator-2"))
    for port in range(PORTS[0], PORTS[-1] + 1):
        loop.ports._allocation._used_once.add(ActivatorPort("slipway-activator", port))
    loop.api.allows = False
    await loop.reconcile()
    assert "for the ServiceAccount slipway-activator-2." in str(status(loop)["plan"]["why"])
    accounts = [each.body["spec"]["user"] for each in loop.api.requests if each.kind == SUBJECT_ACCESS_REVIEW]
    assert accounts[-1] == "system:serviceaccount:slipway-system:slipway-activator-2"


# --- scalers that KEDA can't query -----------------------------------------------------------------------------------


async def asleep(loop: Loop, *, ready: str) -> None:
    """Puts the model at zero since long ago, with KEDA's condition Ready of its ScaledObject."""
    for kind in (LLM_DEPLOYMENT, SERVICE):
        await loop.settle(turns=2)
        loop.api.change(kind, {"metadata": {"creationTimestamp": "2026-11-20T10:00:00Z"}})
    loop.api.put(made_by_kserve(0, owner=loop.api.get(INFERENCE_SERVICE)))
    await loop.settle()
    keda_says(loop, ready)
    await loop.settle()


def keda_says(loop: Loop, ready: str) -> None:
    condition_ready = {
        "type": "Ready",
        "status": ready,
        "reason": "TriggerError",
        "message": "Triggers are not working correctly",
    }
    loop.api.change(SCALED_OBJECT, {"status": {"conditions": [condition_ready]}})


def pass_time(loop: Loop, seconds: float) -> None:
    """Moves the wall clock."""
    loop.reader.now = lambda: NOW + timedelta(seconds=seconds)


async def test_a_scaler_that_keda_cannot_query_is_reported_once_and_its_recovery_too(with_activator: Loop) -> None:
    loop = with_activator
    await asleep(loop, ready="False")
    assert status(loop)["state"] == "Idle"
    assert await loop.reconcile() == 10
    pass_time(loop, 10)
    await loop.reconcile()
    assert state_and_reason(loop) == ("Failed", "ScalerUnavailable")
    assert "the activator at slipway-activator.slipway-system:9090, which" in status(loop)["message"]
    await loop.settle()
    pass_time(loop, 55)
    await loop.reconcile()
    assert loop.api.writes() == []
    keda_says(loop, "True")
    await loop.reconcile()
    assert status(loop)["state"] == "Idle"


async def test_polls_that_fail_now_and_then_are_not_reported(with_activator: Loop) -> None:
    loop = with_activator
    await asleep(loop, ready="True")
    for seconds in range(0, 100, 5):
        pass_time(loop, seconds)
        keda_says(loop, "True" if seconds % 10 else "False")
        await loop.reconcile()
    assert loop.api.writes() == []


async def test_another_leader_keeps_reporting_it(with_activator: Loop) -> None:
    loop = with_activator
    await asleep(loop, ready="False")
    pass_time(loop, 10)
    await loop.settle()
    loop.take_over()
    await loop.settle()
    assert state_and_reason(loop) == ("Failed", "ScalerUnavailable")


async def test_an_activator_without_a_replica_is_reported_as_the_cause(with_activator: Loop) -> None:
    loop = with_activator
    await asleep(loop, ready="False")
    loop.api.put(activator())
    pass_time(loop, 10)
    await loop.reconcile()
    assert "slipway-activator.slipway-system:9090, which has no ready replica" in status(loop)["message"]
    assert condition(loop, "Reachable")["reason"] == "ActivatorUnavailable"


async def test_while_the_condition_of_keda_is_unknown_nothing_is_reported(with_activator: Loop) -> None:
    loop = with_activator
    await asleep(loop, ready="Unknown")
    pass_time(loop, 1000)
    await loop.reconcile()
    assert status(loop)["state"] == "Idle"


async def test_a_wake_that_was_over_when_it_was_written_is_reported_once(
    with_activator: Loop,
) -> None:
    """For example local time in New York, written as UTC."""
    loop = with_activator
    entry: Object = {
        "manager": "kubectl-annotate",
        "time": f"{NOW - timedelta(seconds=5):%Y-%m-%dT%H:%M:%SZ}",
        "fieldsV1": {"f:metadata": {"f:annotations": {f"f:{WAKE_ANNOTATION}": {}}}},
    }
    wall = f"{NOW - timedelta(hours=5):%Y-%m-%dT%H:%M:%SZ}"
    loop.api.change(LLM_DEPLOYMENT, {"metadata": {"annotations": {WAKE_ANNOTATION: wall}, "managedFields": [entry]}})
    await loop.settle()
    [remark] = [each for each in status(loop)["plan"]["why"] if each.startswith(WAKE_ANNOTATION)]
    assert remark.startswith(f"{WAKE_ANNOTATION}: {wall} is in the past, so it wakes nothing: to act now")
    await loop.reconcile()
    assert loop.api.writes() == []


@pytest.mark.parametrize("text", ["soon", f"{NOW + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"])
async def test_an_annotation_without_effect_is_reported_once_and_not_every_second(
    with_activator: Loop, text: str
) -> None:
    """A remark is written to the status, the watch reports the write, and that causes a reconcile."""
    loop = with_activator
    loop.api.change(LLM_DEPLOYMENT, {"metadata": {"annotations": {WAKE_ANNOTATION: text}}})
    await loop.settle()
    assert [each for each in status(loop)["plan"]["why"] if each.startswith(WAKE_ANNOTATION)]
    for seconds in (1, 2, 3):
        loop.time = NOW + timedelta(seconds=seconds)
        await loop.reconcile()
        assert loop.api.writes() == []


async def test_what_was_measured_when_replicas_follow_times_is_in_the_status_and_in_one_event(
    with_activator: Loop,
) -> None:
    loop = with_activator
    scaling = {"minReplicas": 1, "maxReplicas": 4, "target": {"ttftP95": "500ms"}}
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"scaling": scaling}})
    await loop.settle()
    loop.api.put(made_by_kserve(1, owner=loop.api.get(INFERENCE_SERVICE)))
    loop.api.put(pod(is_ready=True))
    await loop.settle()
    assert "lastScaled" not in status(loop)
    loop.followed = {"10.0.0.9": page_of([(KEY, Followed("ttftP95", 0.93, 0.5))])}
    loop.api.put(made_by_kserve(2, owner=loop.api.get(INFERENCE_SERVICE)))
    await loop.reconcile()
    await asyncio.sleep(0)
    assert (KEY, 0) in loop.requeued
    await loop.reconcile()
    found = status(loop)["lastScaled"]
    assert (found["before"], found["after"], found["measured"], found["target"]) == (1, 2, "930ms", "500ms")
    notes = [each.body["note"] for each in loop.api.requests if each.kind == EVENT and each.body["reason"] == "Scaled"]
    assert notes == ["From 1 to 2 replicas. ttftP95 was 930ms then, and its target is 500ms."]
    loop.take_over()
    await loop.settle()
    assert status(loop)["lastScaled"] == found
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"scaling": {"target": {"ttftP95": None, "inFlight": 8}}}})
    await loop.settle()
    assert "lastScaled" not in status(loop)
