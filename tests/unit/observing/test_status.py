"""The status of an LLMDeployment: from a complete snapshot to the complete status."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from slipway.api.llmdeployment import LLMDeployment
from slipway.api.names import PAUSED_ANNOTATION
from slipway.api.reasons import Reason
from slipway.api.status import LLMDeploymentStatus
from slipway.objects.kinds import INFERENCE_SERVICE, Object
from slipway.observing.cause import WOULD_HAPPEN_AGAIN
from slipway.observing.events import Notice, events_between
from slipway.observing.observation import PATIENCE, observe
from slipway.observing.snapshot import Snapshot
from slipway.observing.status import same, status_of
from slipway.operator.planning import Plan
from support.builders import observed as objects
from support.builders.observed import container, deployment, ended, pod, snapshot, unscheduled
from support.builders.plans import SMALL, plan


@dataclass(frozen=True)
class NoPlan:
    reason: str = "NoAcceleratorFits"
    message: str = "the model needs 140 GiB and the largest profile has 80 GiB"
    rejected: tuple[str, ...] = ()


def llm(*, generation: int = 1, annotations: dict[str, str] | None = None, **scaling: Any) -> LLMDeployment:
    metadata = {"name": "model", "namespace": "chat", "generation": generation, "annotations": annotations or {}}
    return LLMDeployment.model_validate(
        {
            "metadata": metadata,
            "spec": {"model": {"uri": "pvc://gemma/"}, "scaling": scaling},
        }
    )


def status(
    observation: Snapshot,
    previous: Object | None = None,
    *,
    plan: Plan | NoPlan = SMALL,
    of: LLMDeployment | None = None,
) -> Object:
    deployment = of or llm()
    return status_of(deployment.metadata.generation, plan, observe(deployment, observation), previous, observation.now)


def holding(status: Object) -> dict[str, str]:
    """Returns the status of each condition."""
    return {each["type"]: each["status"] for each in status["conditions"]}


def reason(status: Object, kind: str) -> str:
    return next(str(each["reason"]) for each in status["conditions"] if each["type"] == kind)


def crashing(name: str = "model-1") -> Object:
    state = ended("CUDA out of memory")
    return pod(name, containerStatuses=[container(state=state, lastState=state, restartCount=1)])


FULL = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
ZERO = snapshot(activator_answers=True)

CONDITIONS = ("Ready", "Planned", "ModelLoaded", "Scaled", "Reachable", "Reconciling", "Stalled")


def true(named: str, *, unknown: str = "") -> dict[str, str]:
    """Returns the status of each condition: True for the named ones, and False for all others."""
    holds = {**dict.fromkeys(named.split(), "True"), **dict.fromkeys(unknown.split(), "Unknown")}
    assert holds.keys() <= set(CONDITIONS)
    return {type_: holds.get(type_, "False") for type_ in CONDITIONS}


@dataclass(frozen=True)
class Row:
    """A snapshot and the expected status; `why` describes the situation."""

    why: str
    snapshot: Snapshot
    state: str
    conditions: dict[str, str]
    ready_because: Reason
    plan: Plan | NoPlan = SMALL


ROWS = [
    Row(
        "nothing is created yet",
        snapshot(deployments=(), service=None),
        "Idle",
        true("Planned Scaled Reconciling", unknown="Ready"),
        Reason.UPDATING,
    ),
    Row("asleep: a request would wake it", ZERO, "Idle", true("Ready Planned Scaled Reachable"), Reason.SCALED_TO_ZERO),
    Row(
        "asleep, and no activator would hold a request",
        snapshot(activator_answers=False),
        "Idle",
        true("Planned Scaled"),
        Reason.ACTIVATOR_UNAVAILABLE,
    ),
    Row(
        "the first replica loads",
        snapshot(pod(), activator_answers=True),
        "Waking",
        true("Ready Planned Reachable Reconciling"),
        Reason.WAKING,
    ),
    Row(
        "the first replica loads, and no activator holds requests",
        snapshot(pod(), activator_answers=False),
        "Waking",
        true("Planned Reconciling"),
        Reason.ACTIVATOR_UNAVAILABLE,
    ),
    Row(
        "the pod doesn't exist yet",
        snapshot(deployments=(deployment(1, pods=0),)),
        "Waking",
        true("Ready Planned Reconciling"),
        Reason.WAKING,
    ),
    Row(
        "a GPU may become free",
        snapshot(unscheduled(FULL), activator_answers=True),
        "Waking",
        true("Planned Reachable Reconciling"),
        Reason.UNSCHEDULABLE,
    ),
    Row(
        "no GPU became free in time",
        snapshot(unscheduled(FULL), now=objects.NOW + PATIENCE),
        "Failed",
        true("Planned Stalled"),
        Reason.UNSCHEDULABLE,
    ),
    Row("the engine can't start", snapshot(crashing()), "Failed", true("Planned Stalled"), Reason.GPU_OUT_OF_MEMORY),
    Row(
        "all replicas are ready",
        snapshot(pod(ready=True)),
        "Serving",
        true("Ready Planned ModelLoaded Scaled Reachable"),
        Reason.SERVING,
    ),
    Row(
        "a second replica starts",
        snapshot(pod(ready=True), pod("b")),
        "Serving",
        true("Ready Planned ModelLoaded Reachable Reconciling"),
        Reason.SERVING,
    ),
    Row(
        "a second replica finds no GPU",
        snapshot(pod(ready=True), unscheduled(FULL, "b")),
        "Degraded",
        true("Ready Planned ModelLoaded Reachable Reconciling"),
        Reason.SERVING,
    ),
    Row(
        "a second replica can't start",
        snapshot(pod(ready=True), crashing("b")),
        "Degraded",
        true("Ready Planned ModelLoaded Reachable Stalled"),
        Reason.SERVING,
    ),
    Row(
        "the new version starts next to the old one",
        snapshot(pod(ready=True), pod("b"), deployments=(deployment(1, pods=2, updated=1),)),
        "Updating",
        true("Ready Planned ModelLoaded Scaled Reachable Reconciling"),
        Reason.UPDATING,
    ),
    Row(
        "the new version can't start; the old one still serves",
        snapshot(pod(ready=True), crashing("b"), deployments=(deployment(1, pods=2, updated=1),)),
        "Degraded",
        true("Ready Planned ModelLoaded Scaled Reachable Stalled"),
        Reason.SERVING,
    ),
    Row(
        "nothing fits the model", ZERO, "Failed", true("Scaled Reachable Stalled"), Reason.NO_ACCELERATOR_FITS, NoPlan()
    ),
    Row(
        "the new spec fits nowhere; the old replica still serves",
        snapshot(pod(ready=True)),
        "Degraded",
        true("Ready ModelLoaded Scaled Reachable Stalled"),
        Reason.SERVING,
        NoPlan(),
    ),
    Row(
        "no KServe",
        snapshot(kinds=frozenset(), deployments=(), service=None),
        "Failed",
        true("Planned Stalled"),
        Reason.KSERVE_MISSING,
    ),
    Row(
        "no KEDA: the model would not wake",
        replace(ZERO, kinds=frozenset({INFERENCE_SERVICE})),
        "Failed",
        true("Planned Reachable Stalled"),
        Reason.KEDA_MISSING,
    ),
    Row(
        "no KEDA: the model serves, and can't scale",
        snapshot(pod(ready=True), kinds=frozenset({INFERENCE_SERVICE})),
        "Degraded",
        true("Ready Planned ModelLoaded Reachable Stalled"),
        Reason.SERVING,
    ),
    Row(
        "one replica too many terminates",
        snapshot(pod(ready=True), pod("b", ready=True), deployments=(deployment(1, pods=2),)),
        "Serving",
        true("Ready Planned ModelLoaded Reachable Reconciling"),
        Reason.SERVING,
    ),
    Row(
        "no Service yet",
        snapshot(pod(ready=True), service=None),
        "Serving",
        true("Ready Planned ModelLoaded Scaled"),
        Reason.SERVING,
    ),
]


PAUSED = llm(annotations={PAUSED_ANNOTATION: "true"})


def test_a_paused_deployment_at_zero_is_idle_and_says_that_nothing_wakes_it() -> None:
    found = status(ZERO, of=PAUSED)
    assert found["state"] == "Idle"
    assert "remove it to resume scaling" in found["message"]
    assert (holding(found)["Ready"], reason(found, "Ready"), reason(found, "Scaled")) == ("False", "Paused", "Paused")


def test_slipways_own_pause_comes_before_that_of_keda_which_it_sets() -> None:
    scaled = {"metadata": {"name": "model", "annotations": {"autoscaling.keda.sh/paused": "true"}}}
    assert reason(status(replace(ZERO, scaled_object=scaled), of=PAUSED), "Ready") == "Paused"


def test_a_paused_deployment_that_serves_goes_on_serving() -> None:
    found = status(snapshot(pod(ready=True)), of=PAUSED)
    assert (found["state"], holding(found)["Ready"], holding(found)["Scaled"]) == ("Serving", "True", "False")
    assert reason(found, "Scaled") == "Paused"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.why)
def test_the_status_shows_the_state_of_the_snapshot(row: Row) -> None:
    found = status(row.snapshot, plan=row.plan)
    assert found["state"] == row.state
    assert holding(found) == row.conditions
    assert reason(found, "Ready") == row.ready_because


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.why)
def test_observing_again_changes_nothing_so_that_nothing_is_written(row: Row) -> None:
    first = status(row.snapshot, plan=row.plan)
    again = replace(row.snapshot, now=row.snapshot.now + timedelta(seconds=20))
    assert status(again, first, plan=row.plan) == first
    assert events_between(first, first) == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.why)
def test_the_status_is_valid_in_the_api(row: Row) -> None:
    LLMDeploymentStatus.model_validate(status(row.snapshot, plan=row.plan))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.why)
def test_the_message_is_a_sentence(row: Row) -> None:
    message = status(row.snapshot, plan=row.plan)["message"]
    assert message[0].isupper() or message[0].isdigit()
    assert message.endswith(".")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.why)
def test_nothing_is_both_progressing_and_stalled(row: Row) -> None:
    held = holding(status(row.snapshot, plan=row.plan))
    assert not held["Reconciling"] == held["Stalled"] == "True"


# --- messages and other fields ---------------------------------------------------------------------------------------


def test_a_failure_quotes_the_pod_and_has_its_time() -> None:
    assert status(snapshot(crashing()))["message"] == (
        "GpuOutOfMemory since 2026-11-21 10:00:01 UTC: CUDA out of memory (2 times). Choose an accelerator with more "
        "memory, use more of them (engine.parallelism.tensor), or use a quantized model."
    )


def test_a_degraded_deployment_first_says_what_still_works() -> None:
    assert status(snapshot(pod(ready=True), unscheduled(FULL, "b")))["message"] == (
        "1 of 2 replicas answers; Unschedulable since 2026-11-21 10:00:01 UTC: "
        "No node has enough nvidia.com/gpu free: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
    )


def test_a_waking_deployment_reports_the_step() -> None:
    found = status(snapshot(pod()))["message"]
    assert found == "The first replica is on its way since 10:00:00 UTC: the engine is loading the model."


def test_the_replicas_are_counted_by_their_pods() -> None:
    found = status(snapshot(pod(ready=True), pod("b"), pod("c")))
    assert found["replicas"] == {"desired": 3, "ready": 1, "warmingUp": 2}


def test_the_plan_is_in_the_status() -> None:
    found = status(ZERO)["plan"]
    assert found == {
        "accelerator": "h100-80gb",
        "gpusPerReplica": 1,
        "tensor": 1,
        "pipeline": 1,
        "maxConcurrency": 64,
        "why": ["the only one that fits"],
        "rejected": [],
        "warnings": [],
    }


def test_a_plan_without_a_profile_names_no_accelerator() -> None:
    """Null is not a valid value of a field: the API server would refuse the entire status."""
    assert "accelerator" not in status(ZERO, plan=plan(profile="", gpus_per_replica=0))["plan"]


def test_a_plan_without_a_known_concurrency_has_no_number() -> None:
    assert "maxConcurrency" not in status(ZERO, plan=plan(max_concurrency=None))["plan"]


@pytest.mark.parametrize(
    ("made", "found"),
    [
        (plan(), "Each replica gets 1 of h100-80gb."),
        (plan(profile="cpu", gpus_per_replica=0), "Each replica gets cpu."),
        (plan(profile="", gpus_per_replica=0), "Each replica gets what its serving runtime requests."),
    ],
)
def test_the_plan_is_explained_in_a_sentence(made: Plan, found: str) -> None:
    planned = next(each for each in status(ZERO, plan=made)["conditions"] if each["type"] == "Planned")
    assert planned["message"] == found


def test_the_url_is_that_of_the_service() -> None:
    assert status(ZERO)["url"] == "http://model.chat.svc"


def test_the_phases_of_a_start_are_reported_as_durations() -> None:
    ready = pod(ready=True)
    pulled = objects.event(ready, "Pulled", "Successfully pulled image", kind="Normal")
    found = status(snapshot(ready, events=(pulled,)))
    durations = {"schedule": "1s", "pull": "30s", "start": "2s", "ready": "12s"}
    assert found["lastColdStart"] == {**durations, "pod": ready["metadata"]["name"]}


def test_a_replica_that_is_added_later_is_not_a_cold_start() -> None:
    first = status(snapshot(pod(ready=True)))
    later = pod("b", ready=True)
    later["metadata"]["creationTimestamp"] = "2026-11-21T09:59:00Z"
    assert status(snapshot(pod(ready=True), later), first)["lastColdStart"] == first["lastColdStart"]


@pytest.mark.parametrize("duration", ["soon", "", "9999999999999999999h"])
def test_an_impossible_cold_start_is_replaced(duration: str) -> None:
    previous = {"lastColdStart": {"load": duration}}
    assert (
        status(ZERO, previous)["lastColdStart"] == {}
    )  # a field that is left out would stay if another manager had written it
    assert status(snapshot(pod(ready=True)), {**previous, "replicas": {"ready": 1}})["lastColdStart"]["ready"]
    assert "lastColdStart" not in status(ZERO, {"lastColdStart": {}})


def test_values_that_others_have_measured_are_kept() -> None:
    measured = {"measured": {"kvTokens": 1000}}
    found = status(ZERO, measured)
    assert {name: found[name] for name in measured} == measured


# --- from one status to the next -------------------------------------------------------------------------------------


def test_a_condition_keeps_its_time_until_its_status_changes() -> None:
    waking = status(snapshot(pod(), activator_answers=True))
    serving = status(snapshot(pod(ready=True), now=objects.NOW + timedelta(minutes=1)), waking)
    times = {each["type"]: each["lastTransitionTime"] for each in serving["conditions"]}
    assert times["Ready"] == "2026-11-21T10:01:00Z"  # it was True before and is True after
    assert times["ModelLoaded"] == "2026-11-21T10:02:00Z"


def test_every_condition_has_its_observed_generation() -> None:
    found = status(ZERO, of=llm(generation=7))
    assert found["observedGeneration"] == 7
    assert {each["observedGeneration"] for each in found["conditions"]} == {7}


def test_a_model_that_failed_is_not_called_healthy_because_its_pods_are_gone() -> None:
    failed = status(snapshot(crashing()))
    found = status(ZERO, failed)
    assert (found["state"], reason(found, "Ready")) == ("Failed", Reason.GPU_OUT_OF_MEMORY)
    assert status(ZERO, found) == found  # and the next status is the same


@pytest.mark.parametrize("cause", sorted(WOULD_HAPPEN_AGAIN))
def test_a_cause_that_a_new_pod_would_meet_too_is_remembered_at_zero(cause: Reason) -> None:
    explained = ended(f'{{"reason": "{cause}", "message": "so it is"}}')
    failing = container(state=explained, lastState=explained, restartCount=1)
    found = status(ZERO, status(snapshot(pod(containerStatuses=[failing]))))
    assert (found["state"], reason(found, "Ready")) == ("Failed", cause)


def test_a_new_spec_is_given_a_new_chance() -> None:
    failed = status(snapshot(crashing()))
    assert status(ZERO, failed, of=llm(generation=2))["state"] == "Idle"


def test_a_platform_that_was_completed_leaves_no_failure_in_the_status() -> None:
    without_keda = status(replace(ZERO, kinds=frozenset({INFERENCE_SERVICE})))
    assert status(ZERO, without_keda)["state"] == "Idle"


def test_an_update_without_a_spare_gpu_is_shown_until_the_new_replica_is_ready() -> None:
    updating = status(snapshot(pod(ready=True), pod("b"), deployments=(deployment(1, pods=2, updated=1),)))
    between = status(snapshot(pod("b")), updating)
    assert between["state"] == "Updating"
    assert status(snapshot(pod("b", ready=True)), between)["state"] == "Serving"


def test_a_reconcile_is_due_if_time_alone_may_change_something() -> None:
    observation = observe(llm(), snapshot(unscheduled(FULL)))
    assert observation.look_again_at == objects.NOW - timedelta(seconds=59) + PATIENCE


def test_a_model_is_not_ready_before_kube_proxy_knows_its_endpoints() -> None:
    new = objects.service(creationTimestamp=f"{objects.NOW - timedelta(seconds=2):%Y-%m-%dT%H:%M:%SZ}")
    first, later = replace(ZERO, service=new), replace(ZERO, service=new, now=objects.NOW + timedelta(seconds=1))
    assert observe(llm(), first).look_again_at == later.now
    assert holding(status(first))["Ready"] == "Unknown"
    assert holding(status(later))["Ready"] == "True"


def test_a_model_is_ready_though_our_clock_is_behind_that_of_the_api_server() -> None:
    ahead = objects.service(creationTimestamp=f"{objects.NOW + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}")
    assert holding(status(replace(ZERO, service=ahead)))["Ready"] == "True"


def test_in_a_steady_state_no_reconcile_is_due() -> None:
    assert observe(llm(), snapshot(pod(ready=True))).look_again_at is None


def test_defaults_that_the_api_server_adds_are_not_a_difference() -> None:
    assert same({"state": "Idle", "plan": {"rejected": []}, "url": None}, {"state": "Idle"})


# --- events ----------------------------------------------------------------------------------------------------------


def test_a_change_of_state_is_an_event() -> None:
    waking, serving = status(snapshot(pod())), status(snapshot(pod(ready=True)))
    assert events_between(waking, serving) == [Notice("Normal", "Serving", "1 replica answers.")]


def test_a_new_cause_is_a_warning_with_its_reason() -> None:
    waking, stuck = status(snapshot(pod())), status(snapshot(unscheduled(FULL)))
    assert events_between(waking, stuck) == [Notice("Warning", "Unschedulable", stuck["message"])]


def test_a_changed_count_is_not_an_event() -> None:
    one, two = status(snapshot(pod(ready=True))), status(snapshot(pod(ready=True), pod("b", ready=True)))
    assert events_between(one, two) == []


def test_a_cause_with_only_another_count_is_not_an_event() -> None:
    third = ended("CUDA out of memory")
    later = pod(containerStatuses=[container(state=third, lastState=third, restartCount=2)])
    assert events_between(status(snapshot(crashing())), status(snapshot(later))) == []
