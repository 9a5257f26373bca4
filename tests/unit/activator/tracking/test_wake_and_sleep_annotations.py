"""An annotation requests that a model wakes or sleeps: what follows for the replicas that it has, or hasn't."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from slipway.activator.tracking.idleness import ModelUse
from slipway.activator.tracking.view import NOTICED_WITHIN, next_moment
from slipway.activator.tracking.watches import needed_of_deployment
from slipway.api.names import SLEEP_ANNOTATION, WAKE_ANNOTATION
from slipway.api.reasons import Reason
from slipway.objects.kinds import Object

from ..proxy.test_request_queue import Scene, in_virtual_time
from .test_view import NOW, SIGHT, at, crashing, failed, leaving, llm, pod, state_of

IDLE_AFTER, TIMEOUT = 600, 60
QUIET = ModelUse(idle_for=30, is_over=True)
LATE = NOTICED_WITHIN.total_seconds()


def model(*, wake: float | None = None, sleep: float | None = None, status: Object | None = None) -> Object:
    """`wake`, `sleep`: requested this many seconds ago."""
    obj = llm(status=status, scaling={"idleAfter": f"{IDLE_AFTER}s", "hold": {"timeout": f"{TIMEOUT}s"}})
    times = {WAKE_ANNOTATION: wake, SLEEP_ANNOTATION: sleep}
    obj["metadata"]["annotations"] = {name: at(ago) for name, ago in times.items() if ago is not None}
    return obj


def stopped(reason: Reason, *, ago: float) -> Object:
    """The status of a deployment that failed this many seconds ago."""
    status = failed(reason)
    status["conditions"][0]["lastTransitionTime"] = at(ago)
    return status


@dataclass(frozen=True)
class Row:
    case: str
    in_use: bool
    wake: float | None = None
    sleep: float | None = None
    pods: tuple[Object, ...] = ()
    use: ModelUse = field(default_factory=ModelUse)
    status: Object | None = None

    def state(self) -> Any:
        deployment = model(wake=self.wake, sleep=self.sleep, status=self.status)
        return state_of(deployment=deployment, pods=self.pods, use=self.use)


WOKEN = [
    Row("just now, at zero", True, wake=0),
    Row("at zero, for as long as a request would wait", True, wake=TIMEOUT - 1),
    Row("at zero, for longer", False, wake=TIMEOUT),
    Row("for later", False, wake=-5),
    Row(
        "and it serves, idle for a long time", True, wake=IDLE_AFTER - 1, pods=(pod(ready=5),), use=ModelUse(9999, True)
    ),
    Row(
        "and it was idle for long enough since", False, wake=IDLE_AFTER, pods=(pod(ready=5),), use=ModelUse(9999, True)
    ),
    Row("and then sent to sleep", False, wake=20, sleep=10),
    Row("after it was sent to sleep", True, wake=10, sleep=20),
    Row("at the same moment as it was sent to sleep", True, wake=10, sleep=10),
    Row("before it is to be sent to sleep", True, wake=10, sleep=-10),
    Row("where no pod could start", False, wake=5, status=failed(Reason.POD_CONFIG_ERROR)),
    Row("while it is paused", False, wake=5, status=failed(Reason.PAUSED)),
    Row("while KEDA is down", True, wake=5, status=stopped(Reason.KEDA_DOWN, ago=3)),
    Row("and it fails", False, wake=5, pods=(crashing(age=4),)),
    Row("and it failed, and the pod is gone", False, wake=30, status=stopped(Reason.MODEL_NOT_FOUND, ago=10)),
    Row("after it had failed", True, wake=30, status=stopped(Reason.MODEL_NOT_FOUND, ago=31)),
]
SENT_TO_SLEEP = [
    Row("while it serves without requests", False, sleep=5, pods=(pod(ready=20),), use=QUIET),
    Row("for later", True, sleep=-5, pods=(pod(ready=20),), use=QUIET),
    Row("while it serves a request", True, sleep=5, pods=(pod(ready=20),), use=ModelUse(0, False, started=10)),
    Row(
        "and the request it served then has ended",
        False,
        sleep=9,
        pods=(pod(ready=20),),
        use=ModelUse(2, True, started=10),
    ),
    Row(
        "and a request arrived at the same moment, and was seen a little later",
        False,
        sleep=30,
        pods=(pod(ready=20),),
        use=ModelUse(2, True, started=30 - LATE),
    ),
    Row(
        "and a request arrived after that",
        True,
        sleep=30,
        pods=(pod(ready=20),),
        use=ModelUse(2, True, started=29 - LATE),
    ),
    Row("and woke again for a request", True, sleep=30, pods=(pod(age=29, ready=20),), use=QUIET),
    Row("where nothing is known of the replica", True, sleep=5, pods=(pod(ready=20),)),
    Row("so long ago that it is over", True, sleep=IDLE_AFTER, pods=(pod(age=9999, ready=9998),), use=QUIET),
    Row("while a replica starts for which no request waits", False, sleep=5, pods=(pod(age=10),)),
    Row("before a replica started", True, sleep=10, pods=(pod(age=5),)),
    Row("while one starts, and another was added since", True, sleep=10, pods=(pod("a", age=20), pod("b", age=5))),
    Row("while it sleeps", False, sleep=5),
    Row("while it terminates", False, sleep=5, pods=(leaving("a", ready=20),)),
]


@pytest.mark.parametrize("row", WOKEN, ids=lambda row: row.case)
def test_woken(row: Row) -> None:
    assert row.state().in_use == row.in_use


@pytest.mark.parametrize("row", SENT_TO_SLEEP, ids=lambda row: row.case)
def test_sent_to_sleep(row: Row) -> None:
    assert row.state().in_use == row.in_use


@pytest.mark.parametrize("text", ["", "now", "true", "2026-11-21", "2026-11-21T10:00:00", "2026-13-21T10:00:00Z"])
@pytest.mark.parametrize("name", [WAKE_ANNOTATION, SLEEP_ANNOTATION])
def test_an_invalid_time_changes_nothing(name: str, text: str) -> None:
    for pods in ((), (pod(ready=5),)):
        deployment = model()
        before = state_of(deployment=deployment, pods=pods)
        deployment["metadata"]["annotations"] = {name: text}
        assert state_of(deployment=deployment, pods=pods) == before


def test_a_sleep_request_is_reported_only_while_it_counts() -> None:
    assert state_of(deployment=model(sleep=IDLE_AFTER - 1)).sent_to_sleep
    assert state_of(deployment=model(sleep=IDLE_AFTER)).sent_to_sleep is None
    assert state_of(deployment=model(sleep=10, wake=5)).sent_to_sleep is None


@pytest.mark.parametrize(
    ("requested", "seconds"),
    [
        ({}, None),
        ({"wake": -5}, 5),
        ({"wake": 5}, TIMEOUT - 5),
        ({"wake": TIMEOUT}, IDLE_AFTER - TIMEOUT),
        ({"wake": IDLE_AFTER}, None),
        ({"sleep": -5}, 5),
        ({"wake": 5, "sleep": -20}, 20),
    ],
)
def test_it_is_refreshed_when_time_alone_changes_something(requested: Any, seconds: float | None) -> None:
    due = next_moment(replace(SIGHT, deployment=model(**requested)))
    assert (None if due is None else (due - NOW).total_seconds()) == seconds


def test_of_the_annotations_only_these_are_stored() -> None:
    obj = model(wake=5)
    obj["metadata"] |= {"uid": "1", "resourceVersion": "7"}
    times = dict(obj["metadata"]["annotations"])
    obj["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = "x" * 100_000
    assert needed_of_deployment(obj)["metadata"]["annotations"] == times
    del obj["metadata"]["annotations"]
    assert "annotations" not in needed_of_deployment(obj)["metadata"]


# --- earlier clients that wait, or have left -------------------------------------------------------------------------


@in_virtual_time
async def test_sent_to_sleep_it_does_not_wake_for_a_client_that_has_left() -> None:
    scene = Scene()
    request, _ = scene.ask()
    scene.leave(request)
    scene.update(sent_to_sleep=NOW)
    assert not scene.is_active


@in_virtual_time
async def test_sent_to_sleep_it_wakes_for_waiting_and_for_later_requests() -> None:
    scene = Scene()
    first, _ = scene.ask()
    scene.update(sent_to_sleep=NOW)
    scene.leave(first)
    assert scene.is_active
    scene.update(sent_to_sleep=NOW + timedelta(seconds=1))
    assert not scene.is_active
    second, _ = scene.ask()
    scene.leave(second)
    scene.update(step=Reason.PULLING_IMAGE)
    scene.update(sent_to_sleep=None)
    assert scene.is_active
