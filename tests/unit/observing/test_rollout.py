"""The progress of a rollout, whether it lacks room, and when that is reported as a cause."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from slipway.api.llmdeployment import LLMDeployment
from slipway.api.reasons import Reason
from slipway.objects.kinds import Object
from slipway.observing.observation import Observation, observe
from slipway.observing.rollout import TAKEN_WITHIN, has_missing, is_updating, lacks_room
from support.builders.observed import condition, deployment, pod, snapshot, unscheduled

FULL = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
OLD, NEW = pod("old", ready=True), unscheduled(FULL, "new")
BOTH_VERSIONS = (deployment(1, pods=2, updated=1),)
OVER_QUOTA = condition("ReplicaFailure", True, message='pods "new" is forbidden: exceeded quota: gpus')


def terminating(obj: Object, until: str = "2026-11-21T10:02:00Z") -> Object:
    return {**obj, "metadata": {**obj["metadata"], "deletionTimestamp": until}}


def of_version(version: str, obj: Object) -> Object:
    return {**obj, "metadata": {**obj["metadata"], "labels": {"pod-template-hash": version}}}


def nominated(obj: Object) -> Object:
    return {**obj, "status": {**obj["status"], "nominatedNodeName": "gpu-1"}}


ROOM: dict[str, tuple[Any, bool]] = {
    "the new version has no node": (snapshot(OLD, NEW, deployments=BOTH_VERSIONS), True),
    "the new version has a node": (snapshot(OLD, pod("new"), deployments=BOTH_VERSIONS), False),
    "the scheduler makes room for it": (snapshot(OLD, nominated(NEW), deployments=BOTH_VERSIONS), False),
    "a quota leaves no room for it": (
        snapshot(OLD, deployments=(deployment(1, updated=0, conditions=[OVER_QUOTA]),)),
        True,
    ),
    "a second replica of the same version has no node": (snapshot(OLD, NEW), False),
    "the old version is already gone": (snapshot(NEW), False),
}


@pytest.mark.parametrize(("view", "lacks"), ROOM.values(), ids=ROOM)
def test_a_new_version_lacks_room_if_it_does_not_fit_next_to_the_old_one(view: Any, lacks: bool) -> None:
    assert lacks_room(view) == lacks


def test_a_rollout_is_over_when_all_replicas_are_ready_and_new() -> None:
    assert is_updating(snapshot(OLD, pod("new"), deployments=BOTH_VERSIONS))
    assert has_missing(snapshot(OLD, pod("new", ready=True), deployments=BOTH_VERSIONS))
    assert has_missing(snapshot(pod("new")))
    assert not has_missing(snapshot(pod("new", ready=True)))


def test_a_rollout_is_seen_in_its_pods_before_the_deployment_reports_it() -> None:
    old, new = of_version("1", OLD), of_version("2", NEW)
    assert is_updating(snapshot(old, new))
    assert lacks_room(snapshot(old, new))
    assert trouble(snapshot(old, new)) is None


def test_a_pod_without_a_deployment_is_not_a_rollout() -> None:
    assert not is_updating(snapshot(pod("stranger", ready=True), of_version("1", pod("ours", ready=True))))


def test_leftover_pods_of_an_older_version_are_not_a_rollout() -> None:
    new = of_version("2", pod("new", ready=True))
    assert not is_updating(snapshot(of_version("1", pod("old", phase="Failed")), new))
    assert not is_updating(snapshot(of_version("1", terminating(OLD)), new))


def observed(view: Any, strategy: str = "Auto") -> Observation:
    spec = {"model": {"uri": "pvc://gemma/"}, "rollout": {"strategy": strategy}}
    metadata = {"name": "model", "namespace": "chat", "uid": "1", "generation": 1}
    return observe(LLMDeployment.model_validate({"metadata": metadata, "spec": spec}), view)


def trouble(view: Any, strategy: str = "Auto") -> Reason | None:
    cause = observed(view, strategy).cause
    return cause.reason if cause else None


def test_a_lack_of_room_is_not_reported_while_the_rollout_or_a_terminating_replica_makes_room() -> None:
    assert trouble(snapshot(OLD, NEW, deployments=BOTH_VERSIONS)) is None
    assert trouble(snapshot(terminating(OLD), NEW, deployments=(deployment(1),))) is None


def test_a_lack_of_room_is_not_reported_before_the_scheduler_had_time_after_room_became_free() -> None:
    now = snapshot().now
    assert trouble(snapshot(NEW, place_freed_at=now)) is None
    assert observed(snapshot(NEW, place_freed_at=now)).look_again_at == now + TAKEN_WITHIN
    assert trouble(snapshot(NEW, place_freed_at=now - TAKEN_WITHIN)) == Reason.UNSCHEDULABLE
    assert trouble(snapshot(NEW, place_freed_at=now - TAKEN_WITHIN + timedelta(seconds=1))) is None


def test_a_lack_of_room_is_reported_if_nothing_makes_room() -> None:
    assert trouble(snapshot(NEW)) == Reason.UNSCHEDULABLE
    assert trouble(snapshot(OLD, NEW, deployments=BOTH_VERSIONS), "Surge") == Reason.UNSCHEDULABLE
    overdue = terminating(OLD, "2026-11-21T10:00:00Z")
    assert trouble(snapshot(overdue, NEW, deployments=(deployment(1),))) == Reason.UNSCHEDULABLE
