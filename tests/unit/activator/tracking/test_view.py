"""What the cluster shows of a deployment → what the data path knows of it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from slipway.activator.shared.model_state import ModelState
from slipway.activator.shared.replica import Replica
from slipway.activator.tracking.idleness import ModelUse
from slipway.activator.tracking.pod_summary import start_of, summary_of, those_worth_reading
from slipway.activator.tracking.rules_from_spec import allow_from
from slipway.activator.tracking.view import ModelView, least_replicas, model_state, next_moment
from slipway.api.exposure import Peer
from slipway.api.reasons import Reason
from slipway.api.scaling import ScalingSpec
from slipway.objects.kinds import Object

NOW = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)
CREATED = NOW - timedelta(seconds=60)


def at(seconds_ago: float) -> str:
    return f"{NOW - timedelta(seconds=seconds_ago):%Y-%m-%dT%H:%M:%SZ}"


def llm(*, status: Object | None = None, **spec: Any) -> Object:
    metadata = {"name": "llama", "namespace": "chat", "generation": 2}
    return {"metadata": metadata, "spec": {"model": {"uri": "pvc://m/"}, **spec}, "status": status or {}}


def service() -> Object:
    return {"metadata": {}, "spec": {"ports": [{"port": 80, "targetPort": 8080}]}}


def pod(
    name: str = "a",
    *,
    age: float = 60,
    ready: float | None = None,
    version: str = "v1",
    metadata: Object | None = None,
    **status: Any,
) -> Object:
    """`age`: seconds since it was created, `ready`: since it is ready."""
    is_ready = {"type": "Ready", "status": "False" if ready is None else "True", "lastTransitionTime": at(ready or age)}
    placed = {"type": "PodScheduled", "status": "True", "lastTransitionTime": at(age)}
    labels = {"pod-template-hash": version}
    return {
        "metadata": {"name": name, "uid": name, "creationTimestamp": at(age), "labels": labels, **(metadata or {})},
        "spec": {"containers": [{"name": "engine"}], "nodeName": "node"},
        "status": {"phase": "Running", "podIP": f"10.0.0.{ord(name)}", "conditions": [is_ready, placed], **status},
    }


def leaving(name: str, **options: Any) -> Object:
    return pod(name, metadata={"deletionTimestamp": at(-30)}, **options)


def crashing(name: str = "a", **options: Any) -> Object:
    terminated = {"exitCode": 2, "reason": "Error", "message": "error: argument --x: invalid", "finishedAt": at(1)}
    state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 20s"}}
    crashed = {"name": "engine", "restartCount": 3, "state": state, "lastState": {"terminated": terminated}}
    return pod(name, containerStatuses=[crashed], **options)


def unschedulable(**options: Any) -> Object:
    condition = {
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes are available: 1 Insufficient cpu.",
    }
    placed = {"type": "PodScheduled", "lastTransitionTime": at(5), **condition}
    return pod(phase="Pending", conditions=[placed], **options)


def failed(reason: Reason, *, generation: int = 2) -> Object:
    """The status of a deployment for which the operator knows a cause."""
    condition = {"reason": str(reason), "message": "So it is.", "lastTransitionTime": at(60)}
    return {"conditions": [{"type": "Ready", "status": "False", "observedGeneration": generation, **condition}]}


SIGHT = ModelView(deployment=llm(), port=20123, service=service(), pods=(), read_pods=(), extra_slice=None, now=NOW)


def state_of(pods: Sequence[Object] = (), **changes: Any) -> ModelState:
    briefs = [summary_of(each) for each in pods]
    shown = [each for each in pods if each["metadata"]["name"] in those_worth_reading(briefs)]
    found = model_state(replace(SIGHT, pods=briefs, read_pods=shown, **changes))
    assert found
    return found


# --- the port, and the replicas --------------------------------------------------------------------------------------


def test_a_deployment_without_a_port_of_its_own_is_not_served() -> None:
    assert model_state(replace(SIGHT, port=None)) is None


def test_its_port_is_the_one_in_the_table() -> None:
    assert state_of().port == 20123


def test_requests_go_to_ready_pods_and_to_no_others() -> None:
    pods = (pod("a", ready=5), pod("b"), leaving("c", ready=5), pod("d", ready=5, podIP=""))
    assert state_of(pods=pods).replicas == (Replica("10.0.0.97", 8080, 16, CREATED, CREATED),)


def test_a_pod_that_reports_itself_ready_is_used_before_the_api_server_knows() -> None:
    statuses = [{"name": "engine", "containerID": "c1", "state": {"running": {}}}]
    pods = (pod("a", containerStatuses=statuses), pod("b", containerStatuses=statuses))
    assert state_of(pods=pods, answered_ready=frozenset("a")).replicas == (
        Replica("10.0.0.97", 8080, 16, CREATED, CREATED),
    )


@pytest.mark.parametrize(
    "unusable",
    [leaving("a"), crashing("a"), pod("a"), pod("a", podIP="")],
    ids=["it is deleted", "it has crashed", "no container runs", "it has no address"],
)
def test_a_pods_own_report_counts_no_more_once_it_cannot_serve(unusable: Object) -> None:
    assert state_of(pods=(unusable,), answered_ready=frozenset("a")).replicas == ()


@pytest.mark.parametrize(
    ("engine", "plan", "concurrency"),
    [({"maxConcurrency": 4}, {"maxConcurrency": 9}, 4), ({}, {"maxConcurrency": 9}, 9)],
)
def test_a_replica_takes_the_concurrency_of_the_spec_or_else_of_the_plan(
    engine: Object, plan: Object, concurrency: int
) -> None:
    found = state_of(deployment=llm(engine=engine, status={"plan": plan}), pods=(pod(ready=5),))
    assert found.replicas[0].max_concurrency == concurrency
    assert found.target_per_replica == concurrency


def test_the_target_of_the_spec_has_precedence_over_what_a_replica_takes() -> None:
    assert state_of(deployment=llm(scaling={"target": {"inFlight": 3}})).target_per_replica == 3


@pytest.mark.parametrize(
    ("limit", "timeout"),
    [
        ("1800s", 1800),
        ("45m", 2700),
        ("1s", 310),
        ("", 310),
        ("soon", 310),
        (7, 310),
        (None, 310),
        ("9" * 5000 + "h", 310),
    ],
)
def test_before_the_first_start_the_plan_in_the_status_sets_how_long_requests_wait(limit: Any, timeout: float) -> None:
    plan = {} if limit is None else {"startLimit": limit}
    assert state_of(deployment=llm(status={"plan": plan})).limits.timeout == timeout


def test_limits_are_those_of_the_spec() -> None:
    limits = state_of(deployment=llm(scaling={"hold": {"maxRequests": 7, "timeout": "90s"}})).limits
    assert (limits.max_requests, limits.timeout) == (7, 90)


@pytest.mark.parametrize(
    ("facts", "wake", "timeout"),
    [
        ({"parameters": 70_000_000_000}, 760, 1550),
        ({"parameters": 70_000_000_000, "dtype": "int4"}, 235, 500),
        ({"parameters": 70_000_000_000, "weights": "20G"}, 160, 350),
        ({"weights": "no size"}, None, 310),
        ({}, None, 310),
    ],
)
def test_before_the_first_start_a_request_waits_as_long_as_the_models_size_suggests(
    facts: Object, wake: float | None, timeout: float
) -> None:
    found = state_of(deployment=llm(model={"uri": "pvc://m/", "facts": facts}))
    assert (found.expected_wake, found.limits.timeout) == (wake, timeout)


def test_once_a_start_was_seen_the_size_is_ignored() -> None:
    found = state_of(
        deployment=llm(model={"uri": "pvc://m/", "facts": {"parameters": 70_000_000_000}}), starts=(200.0,)
    )
    assert (found.expected_wake, found.limits.timeout) == (200, 430)


def test_an_invalid_spec_is_served_with_the_defaults() -> None:
    assert state_of(deployment=llm(scaling={"hold": {"maxRequests": -7}})).limits.max_requests == 256


# --- causes ----------------------------------------------------------------------------------------------------------


def test_a_pods_cause_is_reported_before_it_is_in_the_status() -> None:
    cause = state_of(pods=(crashing(),)).cause
    assert cause
    assert (cause.reason, cause.final) == (Reason.BAD_ENGINE_ARGUMENTS, True)


def test_a_temporary_cause_is_not_final() -> None:
    cause = state_of(pods=(unschedulable(),)).cause
    assert cause
    assert (cause.reason, cause.final) == (Reason.UNSCHEDULABLE, False)


def test_once_the_pods_are_gone_the_next_request_tries_again() -> None:
    assert state_of(deployment=llm(status=failed(Reason.BAD_ENGINE_ARGUMENTS))).cause is None


def test_a_failed_version_does_not_count_for_the_one_that_replaces_it() -> None:
    found = state_of(pods=(crashing("a", age=600), pod("b", age=5, version="v2")))
    assert found.cause is None
    assert found.step is not None


def updating(*, reason: Reason = Reason.UPDATING, generation: int = 2) -> Object:
    """The status once the spec has changed, and Kubernetes has yet to replace the pods."""
    ready = {"type": "Ready", "status": "True", "reason": str(reason), "observedGeneration": generation}
    return {"conditions": [ready]}


def test_requests_wait_while_the_status_says_that_failed_pods_are_being_replaced() -> None:
    found = state_of(pods=(crashing(),), deployment=llm(status=updating()))
    assert found.cause is None


@pytest.mark.parametrize("status", [updating(generation=1), updating(reason=Reason.WAKING)])
def test_a_pods_final_cause_counts_unless_the_status_of_this_spec_says_that_pods_are_replaced(status: Object) -> None:
    cause = state_of(pods=(crashing(),), deployment=llm(status=status)).cause
    assert cause
    assert cause.final


def test_what_may_pass_is_told_to_those_who_wait_for_an_update() -> None:
    cause = state_of(pods=(unschedulable(),), deployment=llm(status=updating())).cause
    assert cause
    assert cause.reason == Reason.UNSCHEDULABLE


@pytest.mark.parametrize(
    ("status", "final"),
    [
        (failed(Reason.INVALID_SPEC), True),
        (failed(Reason.KEDA_MISSING), True),
        (failed(Reason.PAUSED), True),
        (failed(Reason.SCALING_PAUSED), True),
        (failed(Reason.POD_CONFIG_ERROR), True),
        (failed(Reason.KSERVE_DOWN), False),
        (failed(Reason.KEDA_DOWN), False),
        (failed(Reason.SCALER_UNAVAILABLE), False),
        (failed(Reason.QUOTA_EXCEEDED), False),
        (failed(Reason.INVALID_SPEC, generation=1), None),
        (failed(Reason.NOT_READY), None),
        (failed(Reason.ACTIVATOR_UNAVAILABLE), None),
        ({}, None),
    ],
    ids=[
        "spec",
        "platform",
        "paused",
        "paused at KEDA",
        "pod configuration",
        "KServe",
        "KEDA",
        "scaler",
        "may pass",
        "of an older spec",
        "says nothing",
        "is false",
        "no status",
    ],
)
def test_where_no_pod_shows_a_cause_the_status_does(status: Object, final: bool | None) -> None:
    cause = state_of(deployment=llm(status=status)).cause
    assert (cause.final if cause else None) == final


# --- use -------------------------------------------------------------------------------------------------------------

IDLE_AFTER = llm(scaling={"idleAfter": "10m", "hold": {"timeout": "1m"}})
USE: dict[str, tuple[Object, bool]] = {
    "at zero": ({}, False),
    "serving, used a while ago": ({"pods": (pod(ready=5),), "use": ModelUse(599, is_over=True)}, True),
    "serving, idle": ({"pods": (pod(ready=5),), "use": ModelUse(600, is_over=True)}, False),
    "starting": ({"pods": (pod(age=119),)}, True),
    "starting, for longer than a request waits": ({"pods": (pod(age=121),)}, False),
    "one is starting, one is idle": (
        {"pods": (pod("a", ready=700), pod("b", age=5)), "use": ModelUse(600, is_over=True)},
        False,
    ),
    "terminating": ({"pods": (leaving("a", ready=5),)}, False),
    "failed permanently": ({"pods": (crashing(),)}, False),
    "waits for a node": ({"pods": (unschedulable(age=60),)}, True),
    "over": ({"pods": (pod(phase="Failed"),)}, False),
}


@pytest.mark.parametrize(("cluster", "in_use"), USE.values(), ids=USE.keys())
def test_replicas_are_kept_while_they_are_used_or_starting(cluster: Object, in_use: bool) -> None:
    assert state_of(deployment=IDLE_AFTER, **cluster).in_use == in_use


@pytest.mark.parametrize(
    ("conditions", "is_direct"),
    [({"ready": True}, False), ({"ready": False, "serving": True, "terminating": True}, True), ({}, False)],
)
def test_while_the_slice_is_only_a_fallback_clients_are_sent_the_direct_way(
    conditions: Object, is_direct: bool
) -> None:
    extra = {"endpoints": [{"addresses": ["10.0.0.9"], "conditions": conditions}]}
    assert state_of(extra_slice=extra).is_direct == is_direct
    assert state_of(extra_slice=None).is_direct is False


# --- starts ----------------------------------------------------------------------------------------------------------


def test_a_start_is_measured_from_the_pods_creation_to_its_first_readiness() -> None:
    assert start_of(pod(age=60, ready=20)) == 40
    assert start_of(pod(age=60)) is None
    assert start_of(pod(age=60, ready=20, containerStatuses=[{"restartCount": 1}])) is None


def test_earlier_starts_determine_how_long_the_next_one_should_take() -> None:
    assert state_of(starts=(20.0, 22.0, 90.0)).expected_wake == 22


def test_before_the_first_start_no_duration_is_reported() -> None:
    assert state_of().expected_wake is None


# --- access, and what wakes ------------------------------------------------------------------------------------------


def test_without_access_rules_in_the_spec_every_client_is_admitted() -> None:
    rules = state_of().rules
    assert (rules.allow_from, rules.keys_secret, rules.wake_on, rules.names) == (None, None, None, ("llama",))
    assert rules.is_readable


def test_the_specs_rules_for_requests_are_read() -> None:
    access = {"allowFrom": [{"namespaceSelector": {}}], "apiKeysSecret": "keys"}
    engine = {"adapters": [{"name": "llama-sql", "uri": "pvc://models/sql"}]}
    hold = {"wakeOn": ["POST /v1/*"]}
    rules = state_of(deployment=llm(access=access, engine=engine, scaling={"hold": hold})).rules
    assert rules.allow_from == allow_from([Peer.model_validate({"namespaceSelector": {}})])
    assert (rules.keys_secret, rules.wake_on, rules.names) == ("keys", ("POST /v1/*",), ("llama", "llama-sql"))


def test_an_empty_list_admits_no_client_instead_of_every_client() -> None:
    assert state_of(deployment=llm(access={"allowFrom": []})).rules.allow_from == allow_from([])


UNREADABLE: list[dict[str, Any]] = [
    {"access": {"allowFrom": [{"serviceAccounts": ["a"]}]}},
    {"access": {"tomorrowsRestriction": True}},
    {"scaling": {"hold": {"tomorrowsRestriction": True}}},
    {"engine": {"tomorrowsField": 1}},
]


@pytest.mark.parametrize("spec", UNREADABLE)
def test_an_invalid_restriction_is_not_treated_as_none(spec: dict[str, Any]) -> None:
    assert not state_of(deployment=llm(**spec)).rules.is_readable


# --- a spent budget ---------------------------------------------------------------------------------------------------


def spent(then: str) -> Object:
    day = {"limit": 10.0, "spent": 10.0, "resetsAt": at(-3600)}
    return llm(status={"budget": {"state": "Spent", "day": day}}, budget={"perDay": 10.0, "then": then})


@pytest.mark.parametrize(
    ("then", "refuses", "in_use"), [("Alert", False, True), ("Sleep", False, True), ("Refuse", True, False)]
)
def test_only_a_budget_that_refuses_keeps_a_used_model_from_staying(then: str, refuses: bool, in_use: bool) -> None:
    found = state_of(deployment=spent(then), pods=(pod(ready=5),), use=ModelUse(idle_for=1))
    assert (found.refused_until is not None, found.in_use) == (refuses, in_use)
    assert len(found.replicas) == 1


@pytest.mark.parametrize(("then", "least"), [("Alert", 2), ("Sleep", 0), ("Refuse", 0)])
def test_no_replica_is_kept_without_requests_once_the_budget_is_spent(then: str, least: int) -> None:
    view = replace(SIGHT, deployment=spent(then))
    assert least_replicas(view, ScalingSpec(min_replicas=2, max_replicas=2)) == least


def test_the_state_is_computed_again_at_the_reset() -> None:
    assert next_moment(replace(SIGHT, deployment=spent("Refuse"))) == NOW + timedelta(hours=1)
    assert next_moment(replace(SIGHT, deployment=spent("Alert"))) is None
