"""Which cause explains the state of a deployment: one of a pod, of several pods, or of the platform."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from slipway.api.reasons import Reason
from slipway.objects.kinds import INFERENCE_SERVICE, SERVICE, Object
from slipway.observing.cause import WORST_FIRST, Cause, worst
from slipway.observing.causes import main_cause
from slipway.observing.keeping import pod_shown
from slipway.observing.snapshot import RefusedWrite
from support.builders import observed as objects
from support.builders.observed import condition, container, ended, event, node, pod, snapshot, unscheduled


def crashed(message: str, name: str = "model-1", *, times: int = 1) -> Object:
    status = container(restartCount=times - 1, state=ended(message), started=False)
    return pod(name, containerStatuses=[status])


# --- no cause --------------------------------------------------------------------------------------------------------


def test_a_ready_replica_has_no_cause() -> None:
    assert main_cause(snapshot(pod(ready=True))) is None


def test_a_loading_replica_has_no_cause() -> None:
    assert main_cause(snapshot(pod())) is None


def test_a_pod_that_the_scheduler_has_not_seen_yet_has_no_cause() -> None:
    assert main_cause(snapshot(pod(conditions=[], containerStatuses=[], phase="Pending"))) is None


def test_zero_replicas_have_no_cause() -> None:
    assert main_cause(snapshot()) is None


def test_a_pod_that_terminates_in_time_has_no_cause() -> None:
    leaving = pod()
    leaving["metadata"]["deletionTimestamp"] = "2026-11-21T10:01:00Z"
    assert main_cause(snapshot(leaving)) is None


def test_a_crash_from_which_the_engine_had_recovered_is_not_why_it_is_not_ready_now() -> None:
    status = container(started=True, restartCount=1, lastState=ended("CUDA out of memory"))
    recovered = pod(containerStatuses=[status])
    recovered["status"]["conditions"] = [condition("Ready", False, "2026-11-21T10:00:50Z")]
    assert main_cause(snapshot(recovered)) is None


def test_an_evicted_pod_is_not_a_cause_once_another_serves_in_its_place() -> None:
    evicted = pod("old", phase="Failed", reason="Evicted", message="The node was low on resource: memory.")
    assert main_cause(snapshot(evicted, pod("new", ready=True))) is None


# --- one pod ---------------------------------------------------------------------------------------------------------

NO_SUCH_NODE = "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."


def term(**labels: str) -> Object:
    return {"matchExpressions": [{"key": key, "operator": "In", "values": [each]} for key, each in labels.items()]}


def affinity(*terms: Object) -> Object:
    selector = {"nodeSelectorTerms": [*terms]}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": selector}}}


REQUIRED = [
    ({}, ""),
    ({"nodeSelector": {"gpu": "h100", "zone": "a"}}, "; it requires a node with gpu=h100, zone=a"),
    (affinity(term(gpu="h100"), term(cloud="x")), "; it requires a node with gpu=h100, or with cloud=x"),
    (
        {"nodeSelector": {"zone": "a"}, **affinity(term(gpu="h100"), term(cloud="x"))},
        "; it requires a node with zone=a, gpu=h100, or with zone=a, cloud=x",
    ),
    (affinity({"matchExpressions": [{"key": "gpu", "operator": "Exists"}]}), ""),
    (affinity({}, {"matchFields": []}), ""),
]


@pytest.mark.parametrize(("spec", "words"), REQUIRED)
def test_a_pod_without_a_node_says_which_labels_it_requires(spec: Object, words: str) -> None:
    waiting = unscheduled(NO_SUCH_NODE)
    waiting["spec"] |= spec
    cause = main_cause(snapshot(pod_shown(waiting)))
    assert cause is not None
    assert cause.message == f"No node is of the right kind: {NO_SUCH_NODE.rstrip('.')}{words}"


def test_a_crash_stays_the_cause_while_the_engine_restarts() -> None:
    status = container(restartCount=1, lastState=ended("CUDA out of memory", at=objects.PULLED))
    cause = main_cause(snapshot(pod(containerStatuses=[status])))
    assert cause
    assert cause.reason == Reason.GPU_OUT_OF_MEMORY


def test_a_crash_without_a_message_is_reported_by_its_exit_code() -> None:
    cause = main_cause(snapshot(pod(containerStatuses=[container(state=ended(reason="Completed", code=0))])))
    assert cause
    assert cause.message == "Container kserve-container ended with exit code 0 (Completed) and wrote no message"


def test_a_first_crash_may_be_random() -> None:
    cause = main_cause(snapshot(crashed("Segmentation fault")))
    assert cause == Cause(Reason.ENGINE_CRASHED, "Segmentation fault", cause.since if cause else None, False, "model-1")


@pytest.mark.parametrize(
    "state",
    [
        ended("Segmentation fault"),
        {"waiting": {"reason": "CrashLoopBackOff"}},
        {"running": {"startedAt": objects.READY}},
    ],
)
def test_a_repeated_crash_stays_final_whatever_the_kubelet_is_doing(state: Object) -> None:
    restarts = 2 if "running" in state else 1
    status = container(restartCount=restarts, state=state, lastState=ended("Segmentation fault"))
    cause = main_cause(snapshot(pod(containerStatuses=[status])))
    assert cause
    assert cause.final


def test_a_replica_that_has_served_gets_a_second_chance_whatever_ended_it() -> None:
    cause = main_cause(snapshot(served_and_ended(at="2026-11-21T10:30:01Z")))
    assert cause
    assert (cause.reason, cause.final) == (Reason.GPU_OUT_OF_MEMORY, False)


def test_a_replica_that_has_served_and_crashes_again_before_it_is_ready_has_failed() -> None:
    cause = main_cause(snapshot(served_and_ended(at="2026-11-21T10:30:40Z")))
    assert cause
    assert cause.final


def served_and_ended(*, at: str) -> Object:
    """A pod that was ready for half an hour, and whose container then ended at the given time."""
    raw = pod(containerStatuses=[container(restartCount=7, state=ended("CUDA out of memory", at=at))])
    raw["status"]["conditions"] = [
        condition("Initialized", True, objects.SCHEDULED),
        condition("Ready", False, "2026-11-21T10:30:00Z"),
    ]
    return raw


def test_a_download_is_tried_more_often_before_it_has_failed() -> None:
    finals = [getattr(main_cause(snapshot(failing_download(ends))), "final", None) for ends in range(1, 6)]
    assert finals == [False, False, False, False, True]


def failing_download(ends: int) -> Object:
    raw = pod(containerStatuses=[container(state={"waiting": {"reason": "PodInitializing"}})])
    raw["spec"]["initContainers"] = [{"name": "storage-initializer"}]
    raw["status"]["initContainerStatuses"] = [container(restartCount=ends - 1, state=ended("connection reset"))]
    raw["status"]["initContainerStatuses"][0]["name"] = "storage-initializer"
    return raw


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("ErrImagePull", "rpc error: code = NotFound desc = failed to pull: not found"),
        ("ImagePullBackOff", 'Back-off pulling image "a/b:1": ErrImagePull: failed to pull: not found'),
        ("ImagePullBackOff", 'Back-off pulling image "a/b:1"'),  # the wording of kubelets before 1.32
    ],
)
def test_an_image_that_cannot_be_pulled_is_reported_in_the_same_words_at_every_try(reason: str, message: str) -> None:
    waiting = pod(containerStatuses=[container(state={"waiting": {"reason": reason, "message": message}})])
    pull_failure = event(
        waiting, "Failed", 'Failed to pull image "a/b:1": rpc error: code = NotFound desc = failed to pull: not found'
    )
    cause = main_cause(snapshot(waiting, events=(pull_failure,)))
    assert cause
    assert (cause.message, cause.final) == ("failed to pull: not found", True)


def test_the_same_crash_twice_is_not_random() -> None:
    status = container(restartCount=1, state=ended("Segmentation fault"), lastState=ended("Segmentation fault"))
    cause = main_cause(snapshot(pod(containerStatuses=[status])))
    assert cause
    assert cause.final


def test_a_crash_loop_back_off_says_when_the_next_try_is() -> None:
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 2m40s restarting failed container=x"}}
    status = container(restartCount=4, state=waiting, lastState=ended("Segmentation fault", at="2026-11-21T10:00:00Z"))
    cause = main_cause(snapshot(pod(containerStatuses=[status])))
    assert cause
    assert cause.message == "Segmentation fault (5 times, next try at 10:02:40 UTC)"
    assert cause.reason == Reason.CRASH_LOOP


def test_an_engine_that_runs_and_does_not_respond_is_given_a_minute() -> None:
    silent = pod(containerStatuses=[container(started=True)])
    probe_failure = event(silent, "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503")
    early = snapshot(silent, events=(probe_failure,))
    assert main_cause(early) is None
    late = main_cause(replace(early, now=early.now + timedelta(minutes=1)))
    assert late
    assert late.reason == Reason.ENGINE_STUCK


def test_a_kill_by_the_liveness_probe_is_not_reported_as_a_crash() -> None:
    status = container(restartCount=1, state=ended("bye", reason="Error", code=137))
    killed = pod(containerStatuses=[status])
    events = (
        event(killed, "Unhealthy", "Liveness probe failed: timeout"),
        event(killed, "Killing", "Container kserve-container failed liveness probe, will be restarted", kind="Normal"),
    )
    cause = main_cause(snapshot(killed, events=events))
    assert cause
    assert (cause.reason, cause.message) == (Reason.ENGINE_STUCK, "Liveness probe failed: timeout (2 times)")


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ({"phase": "Failed", "reason": "Evicted", "message": "low on resource: memory"}, Reason.EVICTED),
        (
            {"phase": "Failed", "reason": "OutOfcpu", "message": "Node didn't have enough", "containerStatuses": []},
            Reason.UNSCHEDULABLE,
        ),
        (
            {"conditions": [condition("DisruptionTarget", True, reason="PreemptionByScheduler", message="preempting")]},
            Reason.PREEMPTED,
        ),
        (
            {"conditions": [condition("DisruptionTarget", True, reason="DeletionByTaintManager", message="no answer")]},
            Reason.NODE_LOST,
        ),
        (
            {"conditions": [condition("DisruptionTarget", True, reason="TerminationByKubelet", message="pressure")]},
            Reason.EVICTED,
        ),
        (
            {"conditions": [condition("PodScheduled", False, reason="SchedulingGated", message="gated")]},
            Reason.UNSCHEDULABLE,
        ),
    ],
)
def test_an_evicted_pod_says_what_evicted_it(status: Object, reason: Reason) -> None:
    cause = main_cause(snapshot(pod(**status)))
    assert cause
    assert cause.reason == reason


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ({}, "Node gpu-1 is gone"),
        (
            {"gpu-1": node(ready=False, message="Kubelet stopped posting node status.")},
            "Node gpu-1 isn't ready: Kubelet stopped posting node status.",
        ),
    ],
)
def test_a_lost_node_explains_its_pod(nodes: dict[str, Object], words: str) -> None:
    cause = main_cause(snapshot(pod(), nodes=nodes))
    assert cause
    assert (cause.reason, cause.message) == (Reason.NODE_LOST, words)


def test_nodes_that_are_not_watched_explain_nothing() -> None:
    assert main_cause(snapshot(pod(), nodes=None)) is None


def test_a_pod_that_does_not_terminate_is_named_with_what_it_waits_for() -> None:
    terminating = pod()
    terminating["metadata"] |= {"deletionTimestamp": "2026-11-21T10:00:10Z", "finalizers": ["example.com/keep"]}
    cause = main_cause(snapshot(terminating))
    assert cause
    assert cause.reason == Reason.POD_STUCK
    assert (
        cause.message
        == "Pod model-1 should have been gone by 10:00:10 UTC; it waits for its finalizers: example.com/keep"
    )


def test_a_csi_driver_that_is_not_on_the_node_is_a_volume_that_isnt_ready() -> None:
    blocked = pod(containerStatuses=[], phase="Pending", spec={"nodeName": "one"})
    words = "driver name ebs.csi.aws.com not found in the list of registered CSI drivers"
    cause = main_cause(snapshot(blocked, events=(event(blocked, "FailedMount", words),)))
    assert cause
    assert cause.reason == Reason.VOLUME_NOT_READY
    assert "has no CSI driver ebs.csi.aws.com now" in cause.message


def test_events_in_the_new_form_are_understood() -> None:
    blocked = pod(containerStatuses=[], phase="Pending")
    new = event(blocked, "FailedAttachVolume", "")
    new = {**new, "regarding": new.pop("involvedObject"), "note": "Multi-Attach error for volume", "message": None}
    cause = main_cause(snapshot(blocked, events=(new,)))
    assert cause
    assert (cause.reason, cause.message) == (Reason.VOLUME_NOT_READY, "Multi-Attach error for volume")


@pytest.mark.parametrize(
    "message",
    [
        'MountVolume.SetUp failed for volume "token" : failed to sync configmap cache: timed out waiting for it',
        'error processing PVC chat/weights: failed to fetch PVC from API server: persistentvolumeclaims "weights" is '
        "forbidden: no relationship found between node 'one' and this object",
    ],
)
def test_a_mount_that_the_kubelet_was_not_ready_for_is_not_a_cause(message: str) -> None:
    starting = pod(containerStatuses=[], phase="Pending")
    assert main_cause(snapshot(starting, events=(event(starting, "FailedMount", message),))) is None


# --- several pods ----------------------------------------------------------------------------------------------------


def test_among_several_pods_the_one_that_says_what_to_change_counts() -> None:
    cause = main_cause(
        snapshot(
            unscheduled("0/1 nodes are available: 1 Insufficient nvidia.com/gpu."), crashed("CUDA out of memory", "b")
        )
    )
    assert cause
    assert (cause.reason, cause.pod) == (Reason.GPU_OUT_OF_MEMORY, "b")


def test_the_order_of_the_pods_makes_no_difference() -> None:
    pods = [crashed("CUDA out of memory", name) for name in "abc"]
    assert main_cause(snapshot(*pods)) == main_cause(snapshot(*reversed(pods)))


def test_a_final_cause_comes_before_one_that_may_pass() -> None:
    passing, final = Cause(Reason.NAME_TAKEN, "x", final=False), Cause(Reason.POD_STUCK, "y", final=True)
    assert worst([passing, final]) == final


def test_every_reason_that_can_be_a_cause_has_its_rank_once() -> None:
    assert len(set(WORST_FIRST)) == len(WORST_FIRST)


# --- before there are pods -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("exceeded quota: team, requested: nvidia.com/gpu=1, used: 4, limited: 4", Reason.QUOTA_EXCEEDED),
        ('admission webhook "policy.example.com" denied the request: no', Reason.ADMISSION_DENIED),
        ("failed calling webhook: connection refused", Reason.API_ERROR),
    ],
)
def test_pods_that_cannot_be_created_are_explained_by_what_refuses_them(message: str, reason: Reason) -> None:
    failure = condition(
        "ReplicaFailure", True, reason="FailedCreate", message=f'pods "model-x2x4z" is forbidden: {message}'
    )
    cause = main_cause(snapshot(deployments=(objects.deployment(1, conditions=[failure]),)))
    assert cause
    assert (cause.reason, cause.message) == (reason, f"A pod can't be created: {message}")


def test_a_webhook_of_kserve_that_refuses_our_object_is_quoted() -> None:
    words = 'admission webhook "inferenceservice.kserve-webhook-server.validator" denied the request: bad'
    cause = main_cause(snapshot(refusals=(RefusedWrite(kind=INFERENCE_SERVICE, name="model", message=words),)))
    assert cause
    assert (cause.reason, cause.final) == (Reason.ADMISSION_DENIED, True)
    assert words in cause.message


def test_an_api_server_that_is_down_is_not_reported_as_a_fault_of_the_object() -> None:
    cause = main_cause(
        snapshot(refusals=(RefusedWrite(kind=SERVICE, name="model", message="etcdserver: request timed out"),))
    )
    assert cause
    assert (cause.reason, cause.final) == (Reason.API_ERROR, False)


def test_a_runtime_that_kserve_does_not_find_is_named() -> None:
    info = {"reason": "RuntimeNotRecognized", "message": "Waiting for runtime to become available"}
    service = {"metadata": {"name": "model"}, "status": {"modelStatus": {"lastFailureInfo": info}}}
    cause = main_cause(snapshot(inference_service=service, deployments=()))
    assert cause
    assert (cause.reason, cause.final) == (Reason.RUNTIME_MISSING, True)


def test_the_status_of_kserve_about_pods_is_ignored() -> None:
    failed = condition("PredictorReady", False, message="Deployment does not have minimum availability.")
    service = {"metadata": {"name": "model"}, "status": {"conditions": [failed]}}
    assert main_cause(snapshot(pod(), inference_service=service)) is None
    assert (
        main_cause(snapshot(inference_service=service, deployments=())) is None
    )  # pods terminate with their Deployment


def test_the_status_of_kserve_counts_if_it_cannot_create_the_deployment() -> None:
    message = 'fails to reconcile predictor: deployments.apps "model-predictor" is forbidden: exceeded quota: objects'
    failed = condition("PredictorReady", False, reason="ReconcileFailed", message=message)
    service = {"metadata": {"name": "model"}, "status": {"conditions": [failed]}}
    cause = main_cause(snapshot(inference_service=service, deployments=()))
    assert cause
    assert (cause.reason, cause.message) == (Reason.QUOTA_EXCEEDED, f"KServe: {message}")


def test_kserve_is_not_missing_while_the_api_server_does_not_know_its_kinds_yet() -> None:
    message = (
        'services "a" is forbidden: cannot set blockOwnerDeletion in this case because cannot find RESTMapping for \
APIVersion serving.kserve.io/v1beta1 Kind InferenceService: no matches for kind "InferenceService"'
    )
    failed = condition("PredictorReady", False, reason="ReconcileFailed", message=message)
    service = {"metadata": {"name": "model"}, "status": {"conditions": [failed]}}
    cause = main_cause(snapshot(inference_service=service, deployments=()))
    assert cause
    assert (cause.reason, cause.final) == (Reason.API_ERROR, False)


def test_a_failure_of_kserve_in_a_terminating_namespace_is_not_a_cause() -> None:
    message = "fails to reconcile predictor: unable to create new content because it is being terminated"
    failed = condition("PredictorReady", False, reason="ReconcileFailed", message=message)
    service = {"metadata": {"name": "model"}, "status": {"conditions": [failed]}}
    assert main_cause(snapshot(inference_service=service, deployments=())) is None


def test_an_object_of_another_owner_is_named_with_that_owner() -> None:
    taken = objects.service()
    taken["metadata"]["ownerReferences"] = [{"kind": "WebShop", "name": "front"}]
    cause = main_cause(snapshot(foreign=(taken,)))
    assert cause
    assert (cause.reason, cause.message) == (
        Reason.NAME_TAKEN,
        "Service model exists already and belongs to WebShop front",
    )


def test_an_object_of_another_tool_is_named_with_that_tool() -> None:
    taken = objects.service()
    taken["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "Helm"}
    cause = main_cause(snapshot(foreign=(taken,)))
    assert cause
    assert cause.message == "Service model exists already and is managed by Helm"


def test_an_object_without_an_owner_is_named_with_the_remedy() -> None:
    cause = main_cause(snapshot(foreign=(objects.service(),)))
    assert cause
    assert cause.message.endswith("isn't ours; delete it, or give this deployment another name")


@pytest.mark.parametrize(
    ("worse", "milder"),
    [
        (Reason.QUOTA_EXCEEDED, Reason.UNSCHEDULABLE),
        (Reason.BAD_ENGINE_ARGUMENTS, Reason.CRASH_LOOP),
        (Reason.GPU_OUT_OF_MEMORY, Reason.IMAGE_PULL_FAILED),
        (Reason.PREEMPTED, Reason.UNSCHEDULABLE),
        (Reason.NODE_LOST, Reason.UNSCHEDULABLE),
        (Reason.UNSCHEDULABLE, Reason.EVICTED),
    ],
)
def test_the_cause_that_says_more_about_the_remedy_counts(worse: Reason, milder: Reason) -> None:
    causes = [Cause(milder, "a"), Cause(worse, "b")]
    assert worst(causes) == causes[1]


def test_an_engine_that_cannot_be_started_at_all_counts_as_crashed() -> None:
    end = ended("cannot set up the container: strange", reason="StartError", code=128)
    cause = main_cause(snapshot(pod(containerStatuses=[container(state=end)])))
    assert cause
    assert (cause.reason, cause.message) == (Reason.ENGINE_CRASHED, "cannot set up the container: strange")


def test_without_kserve_the_remedy_is_to_install_it() -> None:
    cause = main_cause(snapshot(kinds=frozenset()))
    assert cause
    assert cause.reason == Reason.KSERVE_MISSING
