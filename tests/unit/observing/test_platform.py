"""Whether KServe and KEDA work, and what an outage means for a model that waits for them, sleeps or serves."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from slipway.api.llmdeployment import LLMDeployment
from slipway.api.names import AUTOSCALER_CLASS_ANNOTATION
from slipway.api.reasons import Reason
from slipway.objects.kinds import Object
from slipway.observing.observation import observe
from slipway.observing.platform import (
    ACTS_WITHIN,
    LASTS_AFTER,
    PASSES_WITHIN,
    STEADY_AFTER,
    program_version,
    remarks,
    steady_at,
)
from slipway.observing.snapshot import PlatformPart, Snapshot
from slipway.observing.status import status_of
from support.builders.observed import NOW, condition, container, deployment, ended, pod, service, snapshot, unscheduled
from support.builders.plans import SMALL

LABELS = {"control-plane": "kserve-controller-manager"}


def at(seconds: float) -> str:
    """Returns the time this many seconds ago."""
    return f"{NOW - timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"


def controller(
    name: str = "kserve-controller-manager", *, replicas: int = 1, down_for: float | None = None, image: str = "m:1"
) -> Object:
    available = condition("Available", down_for is None, at(down_for or 9999))
    template = {"spec": {"containers": [{"image": image}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": LABELS}, "template": template}
    return {"metadata": {"name": name}, "spec": spec, "status": {"conditions": [available]}}


def manager(*, ready: bool = False, since: float = 100, **status: Any) -> Object:
    """A pod of the controller, ready or not ready for the given number of seconds."""
    manager_status = {"name": "manager", **status.pop("container", {})}
    obj = pod("manager-1", ready=ready, containerStatuses=[{**container(ready=ready), **manager_status}], **status)
    obj["metadata"]["labels"] = {**LABELS, "pod-template-hash": "1"}
    obj["spec"]["containers"] = [{"name": "manager", "resources": {"limits": {"memory": "300Mi"}}}]
    obj["status"]["conditions"][1]["lastTransitionTime"] = at(since)
    return obj


def killed(*, ago: float, lived: float = 17) -> Object:
    end = ended(reason="OOMKilled", code=137, at=at(ago))
    end["terminated"]["startedAt"] = at(ago + lived)
    return end


BACK_OFF = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 2m40s restarting failed container"}}
CRASHES = manager(container={"restartCount": 5, "state": BACK_OFF, "lastState": killed(ago=20)})


def endpoints(*ready: bool) -> Object:
    labels = {"kubernetes.io/service-name": "kserve-webhook-server-service"}
    return {"metadata": {"labels": labels}, "endpoints": [{"conditions": {"ready": each}} for each in ready]}


def kserve(*pods: Object, **more: Any) -> PlatformPart:
    given = {"down_for": more.pop("down_for", None), "replicas": more.pop("replicas", 1)}
    return PlatformPart(namespace="kserve", controller=controller(**given), pods=pods, **more)


def keda(*pods: Object, down_for: float | None = None) -> PlatformPart:
    return PlatformPart(namespace="keda", controller=controller("keda-operator", down_for=down_for), pods=pods)


RUNS = kserve(manager(ready=True))
IS_DOWN = kserve(CRASHES, down_for=20)


def scaled_object(
    *, created: float = 1000, has_conditions: bool = True, annotations: dict[str, str] | None = None
) -> Object:
    conditions = [condition("Ready", True)] if has_conditions else []
    metadata = {"name": "model", "creationTimestamp": at(created), "annotations": annotations or {}}
    return {"metadata": metadata, "status": {"conditions": conditions}}


def inference_service(*, created: float, **status: Any) -> Object:
    return {"metadata": {"name": "model", "creationTimestamp": at(created)}, "status": status}


def model(replicas: int = 0) -> LLMDeployment:
    scaling = {"minReplicas": replicas, "maxReplicas": 3}
    spec = {"model": {"uri": "pvc://m/"}, "scaling": scaling}
    return LLMDeployment.model_validate({"metadata": {"name": "model", "namespace": "chat"}, "spec": spec})


def reported_status(view: Snapshot, previous: Object | None = None) -> Object:
    observation = observe(model(), view)
    return status_of(1, SMALL, observation, previous, view.now)


def summed_up(status: Object) -> dict[str, Any]:
    found = {each["type"]: f"{each['status']} {each['reason']}" for each in status["conditions"]}
    return {"state": status["state"], **{kind: found[kind] for kind in ("Ready", "Scaled", "Reconciling", "Stalled")}}


def asleep(**more: Any) -> Snapshot:
    more.setdefault("scaled_object", scaled_object())
    return snapshot(deployments=(deployment(0),), activator_answers=True, service=service(), **more)


def serving(**more: Any) -> Snapshot:
    more.setdefault("scaled_object", scaled_object())
    return snapshot(pod(ready=True), **more)


def waking(**more: Any) -> Snapshot:
    """A model whose Deployment has been scaled, without a pod yet."""
    more.setdefault("scaled_object", scaled_object())
    return snapshot(deployments=(deployment(1, pods=0),), activator_answers=True, **more)


def new(**more: Any) -> Snapshot:
    more.setdefault("inference_service", inference_service(created=1))
    return snapshot(deployments=(), activator_answers=True, **more)


def not_scaled_yet(*, created: float) -> Snapshot:
    """KServe has yet to see that others scale the Deployment, which it has made."""
    made, wanted = deployment(0), inference_service(created=created, conditions=[condition("Ready", True)])
    for thing, of_class in ((made, "none"), (wanted, "external")):
        thing["metadata"]["annotations"] = {AUTOSCALER_CLASS_ANNOTATION: of_class}
    more = {"inference_service": wanted, "activator_answers": True, "service": service(), "kserve": RUNS}
    return snapshot(deployments=(made,), **more)


# --- the status for each snapshot ------------------------------------------------------------------------------------

PAUSED = scaled_object(annotations={"autoscaling.keda.sh/paused": "true"})
KEEPS_REPLICAS = scaled_object(annotations={"autoscaling.keda.sh/paused-scale-in": "true"})
WITH_CONDITION = inference_service(created=31, conditions=[condition("Ready", False)])
ELSEWHERE = PlatformPart(namespace="kserve")
ROWS: list[tuple[str, Snapshot, str, str, str]] = [
    # the snapshot, the state, Ready, Scaled
    ("asleep, all controllers run", asleep(kserve=RUNS, keda=keda(manager(ready=True))), "Idle", "True ScaledToZero",
     "AsWanted"),
    ("asleep, the platform isn't watched", asleep(), "Idle", "True ScaledToZero", "AsWanted"),
    ("asleep, KServe elsewhere", asleep(kserve=ELSEWHERE), "Idle", "True ScaledToZero", "AsWanted"),
    ("new, all controllers run", new(kserve=RUNS), "Idle", "Unknown Updating", "AsWanted"),
    ("asleep, KServe crashes", asleep(kserve=IS_DOWN), "Failed", "False KServeDown", "KServeDown"),
    ("new, KServe crashes", new(kserve=IS_DOWN), "Failed", "False KServeDown", "KServeDown"),
    ("waking, KServe crashes", waking(kserve=IS_DOWN), "Waking", "False KServeDown", "KServeDown"),
    ("serving, KServe crashes", serving(kserve=IS_DOWN), "Serving", "True Serving", "KServeDown"),
    ("asleep, KServe has 0 replicas", asleep(kserve=kserve(replicas=0)), "Failed", "False KServeDown", "KServeDown"),
    ("serving, KServe has 0 replicas", serving(kserve=kserve(replicas=0)), "Serving", "True Serving", "KServeDown"),
    ("asleep, KServe has no pod", asleep(kserve=kserve(down_for=15)), "Failed", "False KServeDown", "AsWanted"),
    ("asleep, webhook not ready", asleep(kserve=kserve(manager(ready=True, since=15), webhook=(endpoints(False),))),
     "Failed", "False KServeDown", "AsWanted"),
    ("asleep, webhook ready", asleep(kserve=kserve(manager(ready=True), webhook=(endpoints(False, True),))), "Idle",
     "True ScaledToZero", "AsWanted"),
    ("asleep, KEDA crashes", asleep(keda=keda(CRASHES)), "Failed", "False KedaDown", "KedaDown"),
    ("serving, KEDA crashes", serving(keda=keda(CRASHES)), "Serving", "True Serving", "KedaDown"),
    ("asleep, without a ScaledObject", asleep(keda=keda(CRASHES), scaled_object=None), "Idle", "True ScaledToZero",
     "AsWanted"),
    ("asleep, paused", asleep(keda=keda(CRASHES), scaled_object=PAUSED), "Idle", "False ScalingPaused",
     "ScalingPaused"),
    ("serving, paused", serving(scaled_object=PAUSED), "Serving", "True Serving", "ScalingPaused"),
    ("serving, never scaled in", serving(scaled_object=KEEPS_REPLICAS), "Serving", "True Serving", "ScalingPaused"),
    ("asleep, KEDA silent", asleep(scaled_object=scaled_object(created=31, has_conditions=False)), "Failed",
     "False KedaDown", "KedaDown"),
    ("new, KServe silent", new(inference_service=inference_service(created=31), kserve=RUNS), "Failed",
     "False KServeDown", "AsWanted"),
    ("not scaled yet, KServe silent", not_scaled_yet(created=31), "Failed", "False KServeDown", "AsWanted"),
    ("not scaled yet", not_scaled_yet(created=29), "Idle", "True ScaledToZero", "AsWanted"),
    ("new, KServe has set a condition", new(inference_service=WITH_CONDITION, kserve=RUNS), "Idle", "Unknown Updating",
     "AsWanted"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("annotations", "named"),
    [
        ({}, ""),
        ({"paused": "false"}, ""),
        ({"paused": "F"}, ""),
        ({"paused": "true"}, "paused"),
        ({"paused": "yes, until Monday"}, "paused"),
        ({"paused": "false", "paused-replicas": "0"}, "paused-replicas"),
        ({"paused": "true", "paused-replicas": "2"}, "paused-replicas"),
        ({"paused": ""}, "paused"),
        ({"paused-scale-out": "true"}, "paused-scale-out"),
        ({"paused-scale-in": "true"}, ""),
    ],
)
def test_what_pauses_keda_is_named(annotations: dict[str, str], named: str) -> None:
    paused = scaled_object(annotations={f"autoscaling.keda.sh/{name}": value for name, value in annotations.items()})
    message = reported_status(asleep(scaled_object=paused))["message"]
    pauses = (
        f"The annotation autoscaling.keda.sh/{named} of ScaledObject model pauses KEDA; remove it to resume scaling."
    )
    assert message == (f"No replica runs. {pauses}" if named else Reason.SCALED_TO_ZERO.meaning)


@pytest.mark.parametrize(("view", "state", "ready", "scaled"), [each[1:] for each in ROWS], ids=[w[0] for w in ROWS])
def test_a_model_that_needs_it_is_not_ready_and_one_that_does_not_only_mentions_the_outage(
    view: Snapshot, state: str, ready: str, scaled: str
) -> None:
    found = summed_up(reported_status(view))
    assert (found["state"], found["Ready"]) == (state, ready)
    assert found["Scaled"].split()[1] == scaled
    assert found["Stalled"] == "False AsWanted"  # it goes on when the platform is back


def test_a_model_whose_pods_all_exist_no_longer_needs_kserve() -> None:
    assert summed_up(reported_status(snapshot(pod(), kserve=IS_DOWN)))["Ready"] == "True Waking"


def test_the_cause_of_an_existing_pod_comes_before_an_outage_that_no_longer_matters_to_it() -> None:
    crashed = pod(containerStatuses=[container(state=ended("CUDA out of memory"))])
    assert summed_up(reported_status(snapshot(crashed, kserve=IS_DOWN)))["Ready"] == "False GpuOutOfMemory"


# --- the messages ----------------------------------------------------------------------------------------------------

WORDS = [
    (IS_DOWN, "KServe's controller kserve/kserve-controller-manager isn't running: Container manager was killed at its "
     "memory limit of 300Mi, again and again; see kubectl --namespace kserve describe pods"),
    (kserve(replicas=0), "KServe's controller kserve/kserve-controller-manager is scaled to 0 replicas: run kubectl "
     "--namespace kserve scale deployment/kserve-controller-manager --replicas=1"),
    (kserve(down_for=15), "it has no pod"),
    (kserve(manager(container={"state": {"waiting": {"reason": "ErrImagePull", "message": "manifest unknown"}}}),
            down_for=15), "isn't running: manifest unknown; see"),
    (kserve({**unscheduled("0/3 nodes are available: 3 Insufficient cpu."),
             "metadata": {"name": "m", "labels": LABELS}}, down_for=15), "No node has enough cpu free"),
    (kserve(manager(), down_for=15), "none of its pods is ready"),
    (kserve(manager(ready=True, since=15), webhook=(endpoints(),)), "KServe's webhook can't be called: Service "
     "kserve/kserve-webhook-server-service leads to no ready pod"),
]  # fmt: skip


@pytest.mark.parametrize(("part", "words"), WORDS, ids=[words[:40] for _, words in WORDS])
def test_the_cause_of_an_outage_is_reported_with_the_place_to_look(part: PlatformPart, words: str) -> None:
    status = reported_status(asleep(kserve=part))
    assert words in status["message"]
    assert "kubectl --namespace kserve" in status["message"]


def test_a_silent_controller_that_is_not_found_is_reported_with_the_flag_that_names_it() -> None:
    silent = inference_service(created=31)
    status = reported_status(new(inference_service=silent, kserve=PlatformPart(namespace="kserve")))
    assert "KServe has not processed InferenceService model" in status["message"]
    assert "--kserve-namespace" in status["message"]


def test_a_failing_webhook_is_reported_as_an_outage() -> None:
    refused = 'Internal error occurred: failed calling webhook "x": Post "https://kserve-webhook-server-service.kserve'
    maker = {"metadata": {"name": "m"}, "spec": {"replicas": 1}, "status": {
        "conditions": [condition("ReplicaFailure", True, message=f"Error creating: {refused}")]}}  # fmt: skip
    status = reported_status(waking(replica_sets=(maker,)))
    assert summed_up(status)["Ready"] == "False KServeDown"


# --- no flapping -----------------------------------------------------------------------------------------------------


def since(seconds: float) -> PlatformPart:
    return kserve(manager(since=seconds), down_for=seconds)


@pytest.mark.parametrize(
    ("view", "patience"), [(asleep, PASSES_WITHIN), (serving, LASTS_AFTER)], ids=["asleep", "serving"]
)
def test_a_short_pause_is_not_an_outage(view: Any, patience: timedelta) -> None:
    """For example, its pod moves to another node."""
    short, long = (reported_status(view(kserve=since(patience.total_seconds() + more))) for more in (-1, 0))
    assert summed_up(short)["Scaled"].split()[1] != "KServeDown"
    assert "KServeDown" in str(long)


def test_a_pod_that_leaves_was_ready_until_now() -> None:
    """The status of its Deployment is updated a moment later."""
    leaving = manager(ready=True, since=1000)
    leaving["metadata"]["deletionTimestamp"] = at(-30)
    assert summed_up(reported_status(asleep(kserve=kserve(leaving))))["state"] == "Idle"


def test_a_reconcile_is_due_when_a_pause_would_become_an_outage() -> None:
    observation = observe(model(), asleep(kserve=since(4)))
    assert observation.look_again_at == NOW + PASSES_WITHIN - timedelta(seconds=4)


def test_a_controller_that_keeps_crashing_is_down_though_it_is_ready_for_a_moment() -> None:
    running = {"running": {"startedAt": at(30)}}
    restarted = manager(ready=True, container={"restartCount": 3, "state": running, "lastState": killed(ago=35)})
    view = asleep(kserve=kserve(restarted))
    assert summed_up(reported_status(view))["Ready"] == "False KServeDown"
    assert view.kserve
    assert steady_at(view.kserve, NOW) == NOW - timedelta(seconds=30) + STEADY_AFTER


@pytest.mark.parametrize(
    ("run_for", "lived"), [(120, 17), (30, 600)], ids=["steady since the crash", "steady before the crash"]
)
def test_a_controller_that_crashed_once_and_is_steady_is_not_down(run_for: float, lived: float) -> None:
    running = {"running": {"startedAt": at(run_for)}}
    before = killed(ago=run_for + 5, lived=lived)
    restarted = manager(ready=True, container={"restartCount": 3, "state": running, "lastState": before})
    assert summed_up(reported_status(asleep(kserve=kserve(restarted))))["Ready"] == "True ScaledToZero"


def test_while_the_outage_is_the_same_the_status_does_not_change() -> None:
    """However often it crashes and whatever its state is: the statuses of a thousand models are written once."""
    first = reported_status(asleep(kserve=IS_DOWN))
    running = {"running": {"startedAt": at(1)}}
    moments = [
        {"restartCount": 6, "state": BACK_OFF, "lastState": killed(ago=1)},
        {"restartCount": 7, "state": running, "lastState": killed(ago=3)},
        {"restartCount": 7, "state": killed(ago=0), "lastState": killed(ago=40)},
    ]
    for moment in moments:
        part = kserve(manager(since=1, container=moment), down_for=1)
        assert reported_status(asleep(kserve=part, now=NOW), first) == first


def test_another_replica_that_runs_suffices() -> None:
    other = manager(ready=True)
    other["metadata"]["name"] = "manager-2"
    assert summed_up(reported_status(asleep(kserve=kserve(CRASHES, other))))["state"] == "Idle"


def test_other_pods_in_its_namespace_say_nothing_about_the_controller() -> None:
    assert (
        summed_up(reported_status(asleep(kserve=kserve(pod(ready=True), down_for=15))))["Ready"] == "False KServeDown"
    )


def test_a_reconcile_is_due_when_silence_would_mean_an_outage() -> None:
    observation = observe(model(), new(inference_service=inference_service(created=10), kserve=RUNS))
    assert observation.look_again_at == NOW + ACTS_WITHIN - timedelta(seconds=10)


# --- versions --------------------------------------------------------------------------------------------------------

IMAGES: list[tuple[str, tuple[int, ...] | None]] = [
    ("ghcr.io/kedacore/keda:2.21.0", (2, 21, 0)),
    ("registry:5000/keda:v2.20.1@sha256:abc", (2, 20, 1)),
    ("keda:latest", None),
    ("registry:5000/keda", None),
    ("keda@sha256:abc", None),
]


@pytest.mark.parametrize(("image", "version"), IMAGES)
def test_a_version_is_read_off_the_image(image: str, version: tuple[int, ...] | None) -> None:
    assert program_version(controller(image=image)) == version


@pytest.mark.parametrize(
    ("image", "is_reported"), [("keda:2.20.2", True), ("keda:2.9", True), ("keda:2.21.0", False), ("keda:main", False)]
)
def test_a_keda_with_a_vulnerability_is_reported_if_its_version_is_known(image: str, is_reported: bool) -> None:
    found = [*remarks(PlatformPart(namespace="keda", controller=controller(image=image)))]
    assert bool(found) is is_reported


def test_without_a_version_in_the_image_the_label_counts() -> None:
    obj = controller(image="keda:main")
    obj["metadata"]["labels"] = {"app.kubernetes.io/version": "2.19.0"}
    assert program_version(obj) == (2, 19, 0)


def test_the_reasons_of_an_outage_are_not_final() -> None:
    assert not Reason.KSERVE_DOWN.is_final
    assert not Reason.KEDA_DOWN.is_final
