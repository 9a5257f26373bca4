"""What is wrong with pods of an older version is no reason why the present spec fails."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from slipway.activator.tracking.pod_summary import summary_of
from slipway.activator.tracking.view import ModelView, model_state
from slipway.api.llmdeployment import LLMDeployment
from slipway.api.reasons import Reason
from slipway.objects.kinds import Object
from slipway.observing.causes import main_cause
from slipway.observing.observation import observe
from slipway.observing.snapshot import Remade, Snapshot
from slipway.observing.status import status_of
from slipway.observing.versions import FOLLOWS_WITHIN, is_awaited
from support.builders.observed import NOW, container, deployment, ended, node, pod, snapshot, unscheduled
from support.builders.plans import SMALL

SPEC: Object = {"model": {"uri": "pvc://gemma/"}, "scaling": {"initialReplicas": 1}}
REFUSES = ended("error: unrecognized arguments: --nope")
ASKED = Remade(NOW - timedelta(seconds=1), revision=1)


def replica_set(version: str, revision: int) -> Object:
    labels, notes = {"pod-template-hash": version}, {"deployment.kubernetes.io/revision": str(revision)}
    return {"kind": "ReplicaSet", "metadata": {"name": version, "labels": labels, "annotations": notes}, "spec": {}}


def failing(version: str = "a", **more: Any) -> Object:
    found = pod(f"model-{version}", containerStatuses=[container(state=REFUSES)], **more)
    return {**found, "metadata": {**found["metadata"], "labels": {"pod-template-hash": version}}}


ONE, BOTH = (replica_set("a", 1),), (replica_set("a", 1), replica_set("b", 2))


def reason(world: Snapshot) -> str:
    cause = main_cause(world)
    return str(cause.reason) if cause else ""


def status(world: Snapshot) -> Object:
    llm = LLMDeployment.model_validate({"metadata": {"name": "model", "namespace": "chat"}, "spec": SPEC})
    return status_of(2, SMALL, observe(llm, world), None, world.now)


def test_a_pod_of_the_newest_version_is_a_cause() -> None:
    assert reason(snapshot(failing(), replica_sets=ONE)) == Reason.BAD_ENGINE_ARGUMENTS
    assert reason(snapshot(failing("b"), replica_sets=BOTH)) == Reason.BAD_ENGINE_ARGUMENTS


def test_a_pod_of_an_older_version_is_none() -> None:
    assert reason(snapshot(failing("a"), replica_sets=BOTH)) == ""


def test_a_version_that_is_the_newest_again_is_one() -> None:
    """A spec that was changed and changed back."""
    assert reason(snapshot(failing("a"), replica_sets=(replica_set("a", 3), replica_set("b", 2))))


def test_what_its_node_did_to_a_pod_counts_whatever_its_version() -> None:
    lost = snapshot(failing("a"), replica_sets=BOTH, nodes={"gpu-1": node(ready=False)})
    assert reason(lost) == Reason.NODE_LOST


def unplaced(version: str) -> Object:
    found = unscheduled("0/3 nodes are available: 3 Insufficient nvidia.com/gpu.", f"model-{version}")
    return {**found, "metadata": {**found["metadata"], "labels": {"pod-template-hash": version}}}


def test_while_the_newest_version_finds_no_place_the_message_says_what_is_wrong_with_the_older_one() -> None:
    """With the strategy Surge, the older one stays until then."""
    cause = main_cause(snapshot(failing("a"), unplaced("b"), replica_sets=BOTH))
    assert cause
    assert (cause.reason, cause.pod) == (Reason.UNSCHEDULABLE, "model-b")
    assert "; pod model-a of the version before doesn't serve either: BadEngineArguments: " in cause.message


def test_where_the_rollout_ends_the_older_pods_to_make_room_they_are_no_cause() -> None:
    world = snapshot(failing("a"), unplaced("b"), replica_sets=BOTH, deployments=(deployment(1, pods=2, updated=1),))
    assert status(world)["state"] == "Updating"


def test_until_kserve_has_followed_the_spec_the_model_is_updating_and_not_stalled() -> None:
    world = snapshot(failing(), replica_sets=ONE, remade=ASKED)
    found = status(world)
    stalled = next(each for each in found["conditions"] if each["type"] == "Stalled")
    assert (found["state"], stalled["status"]) == ("Updating", "False")


def test_the_activator_holds_requests_while_the_status_says_that_they_wait() -> None:
    world = snapshot(failing(), replica_sets=ONE, remade=ASKED)
    found = status(world)
    assert found["message"].endswith("requests wait for the first replica of the new version.")
    held = {"metadata": {"name": "model", "namespace": "chat", "generation": 2}, "spec": SPEC, "status": found}
    pods = [summary_of(each) for each in world.pods]
    view = ModelView(
        deployment=held, port=1, service=None, pods=pods, read_pods=world.pods, extra_slice=None, now=world.now
    )
    known = model_state(view)
    assert known
    assert known.cause is None


def test_a_new_version_that_fails_is_reported_at_once() -> None:
    world = snapshot(failing("b"), replica_sets=BOTH, remade=ASKED)
    assert status(world)["state"] == "Failed"


def test_what_kserve_does_not_follow_is_a_cause_again() -> None:
    """A change of the spec that changes nothing in the pods' template, or a KServe that is down."""
    world = snapshot(failing(), replica_sets=ONE, remade=Remade(NOW - FOLLOWS_WITHIN, revision=1))
    assert not is_awaited(world)
    assert status(world)["state"] == "Failed"


def test_the_status_is_written_again_when_the_time_is_over() -> None:
    world = snapshot(failing(), replica_sets=ONE, remade=ASKED)
    assert observe(None, world).look_again_at == ASKED.at + FOLLOWS_WITHIN


def test_without_revisions_every_pod_counts() -> None:
    assert reason(snapshot(failing())) == Reason.BAD_ENGINE_ARGUMENTS
