"""What is counted of containers and pods that ended, in recordings of a real cluster and in pods made for a test."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from slipway.api.reasons import Reason
from slipway.objects.kinds import Object
from slipway.observing.failures import Failure, failures_in
from slipway.observing.keeping import pod_shown
from slipway.observing.snapshot import Snapshot
from support.builders import recorded_snapshots
from support.faults.pod_failures import POD_FAILURES, PodFailure

FIXTURES = Path(__file__).parent / "fixtures"
NOW = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)
ENDED: Object = {
    "exitCode": 1,
    "reason": "Error",
    "containerID": "c1",
    "finishedAt": "2026-11-21T09:59:00Z",
    "message": "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
}
RUNNING = {"running": {"startedAt": "2026-11-21T09:59:10Z"}}


def pod(*statuses: Object, deleted: bool = False, ready_at: str | None = None, **status: Any) -> Object:
    ready = {"type": "Ready", "status": str(bool(ready_at)), "lastTransitionTime": ready_at or "2026-11-21T09:58:00Z"}
    return {
        "metadata": {"name": "a", "uid": "u", **({"deletionTimestamp": "2026-11-21T10:00:00Z"} if deleted else {})},
        "spec": {"containers": [{"name": "kserve-container"}], "nodeName": "n"},
        "status": {"conditions": [ready], "containerStatuses": list(statuses), **status},
    }


def engine(state: Object, last: Object | None = None, *, restarts: int = 0, ready: bool = False) -> Object:
    return {
        "name": "kserve-container",
        "restartCount": restarts,
        "ready": ready,
        "state": state,
        "lastState": {"terminated": last} if last else {},
    }


def found(*pods: Object) -> list[Failure]:
    return list(failures_in(Snapshot(now=NOW, pods=pods)))


def test_a_container_that_ended_is_a_failure_with_its_cause_and_its_time() -> None:
    [failure] = found(pod(engine({"terminated": ENDED})))
    assert (failure.pod, failure.container, failure.reason) == ("u", "kserve-container", Reason.GPU_OUT_OF_MEMORY)
    assert failure.at == datetime(2026, 11, 21, 9, 59, tzinfo=UTC)


def test_it_is_the_same_failure_while_the_kubelet_waits_and_after_the_next_start() -> None:
    states = [
        engine({"terminated": ENDED}),
        engine({"waiting": {"reason": "CrashLoopBackOff"}}, ENDED),
        engine(RUNNING, ENDED, restarts=1),
    ]
    assert len({each for state in states for each in found(pod(state))}) == 1
    ready = pod(engine(RUNNING, ENDED, restarts=1, ready=True), ready_at="2026-11-21T09:59:30Z")
    assert found(ready) == found(pod(states[0]))


def test_a_container_that_runs_or_has_yet_to_start_has_not_failed() -> None:
    assert found(pod(engine(RUNNING)), pod(engine({"waiting": {"reason": "ContainerCreating"}})), pod()) == []


def test_an_image_that_cannot_be_pulled_has_not_ended() -> None:
    assert found(pod(engine({"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}))) == []


def test_a_pod_that_is_deleted_ends_its_containers_which_is_no_failure() -> None:
    assert found(pod(engine({"terminated": {**ENDED, "exitCode": 137}}), deleted=True)) == []


def test_an_evicted_pod_is_one_failure_and_not_one_for_each_container() -> None:
    target = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}
    evicted = pod(engine({"terminated": ENDED}), phase="Failed", reason="Evicted")
    evicted["status"]["conditions"].append(target)
    assert [(each.container, each.reason) for each in found(evicted)] == [("", Reason.EVICTED)]


@pytest.mark.parametrize("provocation", POD_FAILURES, ids=lambda each: each.name)
def test_what_ended_in_a_recorded_cluster_is_counted_by_the_cause_that_the_status_reports(
    provocation: PodFailure,
) -> None:
    snapshot = recorded_snapshots.load(FIXTURES / f"{provocation.name}.json")
    stored = replace(snapshot, pods=tuple(map(pod_shown, snapshot.pods)))
    ended = [each for each in snapshot.pods for each in (each["status"].get("containerStatuses") or [])]
    has_ended = any("terminated" in {**each.get("state", {}), **each.get("lastState", {})} for each in ended)
    reasons = {each.reason for each in failures_in(stored)}
    assert reasons <= {provocation.reason, Reason.ENGINE_CRASHED, Reason.CRASH_LOOP}
    assert bool(reasons) >= has_ended
