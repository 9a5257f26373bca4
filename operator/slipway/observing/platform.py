"""Whether KServe and KEDA work: read from their Deployments and pods, and from objects that they haven't processed.

Thousands of LLMDeployments depend on these two programs, and each reports them. So that no status flaps:

- The message stays the same while the problem is the same; it contains no counts and no times.
- A short pause is no outage: a controller whose pod is replaced is back before any status reports it. An LLMDeployment
  that waits for it reports it after `PASSES_WITHIN`, one that serves and doesn't need it now after `LASTS_AFTER`.
- A controller that keeps crashing is down until it has run for `STEADY_AFTER`, though it is ready at times.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from slipway.api.names import AUTOSCALER_CLASS_ANNOTATION
from slipway.api.reasons import Reason
from slipway.objects.conditions import condition
from slipway.objects.kinds import Object
from slipway.objects.metadata import annotations_of, created_at
from slipway.objects.times import is_near, parse_time
from slipway.observing import words
from slipway.observing.cause import Cause
from slipway.observing.containers import TRIES, Container
from slipway.observing.pods import Pod, cause_of_pod
from slipway.observing.snapshot import PlatformPart, Snapshot

PASSES_WITHIN = timedelta(seconds=10)
LASTS_AFTER = timedelta(seconds=60)
STEADY_AFTER = timedelta(minutes=2)
SHORT_LIFE = timedelta(minutes=10)  # a program that ends within it doesn't work
ACTS_WITHIN = timedelta(seconds=30)
"""After an object was created for a running controller: a busy one needs time."""

KEDA_PAUSES_AT = "autoscaling.keda.sh/paused-replicas"  # whatever its value
KEDA_PAUSES = tuple(f"autoscaling.keda.sh/{name}" for name in ("paused", "paused-scale-out"))
KEDA_PAUSES_SCALE_IN = "autoscaling.keda.sh/paused-scale-in"
NOT_PAUSED = ("0", "f", "F", "false", "False", "FALSE")  # KEDA takes any other value for a pause
SAFE_KEDA = (2, 21)


@dataclass(frozen=True)
class Outage:
    """`since`: None if the program keeps crashing. Sure: it won't be over in a moment."""

    message: str
    since: datetime | None
    is_sure: bool = False

    def is_reported(self, now: datetime, *, waits: bool) -> bool:
        if self.since is None or (waits and self.is_sure):
            return True
        return now - self.since >= (PASSES_WITHIN if waits else LASTS_AFTER)


def causes_in(snapshot: Snapshot) -> Iterator[Cause]:
    """Why this LLMDeployment gets no pod, where it waits for one, or would on the next request."""
    if _waits_for_pods(snapshot):
        yield from _reported("KServe", Reason.KSERVE_DOWN, snapshot.kserve, snapshot.now, waits=True)
        yield from _silent_kserve(snapshot)
    if wants_none(snapshot) and is_keda_s(snapshot):
        yield from _reported("KEDA", Reason.KEDA_DOWN, snapshot.keda, snapshot.now, waits=True)
        yield from _silent_keda(snapshot)


def doubt_in(snapshot: Snapshot) -> Cause | None:
    """Why the number of replicas, although correct now, couldn't change."""
    found = [*_reported("KServe", Reason.KSERVE_DOWN, snapshot.kserve, snapshot.now, waits=False)]
    if is_keda_s(snapshot):
        found += [
            *_reported("KEDA", Reason.KEDA_DOWN, snapshot.keda, snapshot.now, waits=False),
            *_silent_keda(snapshot),
        ]
    return next(iter(found), None)


def moments_in(snapshot: Snapshot) -> Iterator[datetime]:
    """When time alone may change the result; some of these moments have passed."""
    for name, part in (("KServe", snapshot.kserve), ("KEDA", snapshot.keda)):
        outage = outage_of(name, part, snapshot.now) if part else None
        if outage and outage.since:
            yield from (outage.since + PASSES_WITHIN, outage.since + LASTS_AFTER)
    for given, is_taken in (
        (snapshot.inference_service, _is_taken_by_kserve),
        (snapshot.scaled_object, _is_taken_by_keda),
    ):
        if given and not is_taken(snapshot) and (since := created_at(given)):
            yield since + ACTS_WITHIN


def steady_at(part: PlatformPart, now: datetime) -> datetime | None:
    """When a pod that keeps crashing will have run for long enough to count as steady."""
    moments = (started for pod in _pods(part, now) if _keeps_crashing(pod, now) for started in _starts(pod))
    return min((started + STEADY_AFTER for started in moments), default=None)


def remarks(keda: PlatformPart | None) -> Iterator[str]:
    """What a person should know about the platform, though it stops nothing."""
    version = program_version(keda.controller) if keda and keda.controller else None
    if version and version < SAFE_KEDA:
        found, safe = (".".join(map(str, each)) for each in (version, SAFE_KEDA))
        yield f"KedaTooOld: KEDA {found} has the critical CVE-2026-77524; update it to {safe} or later."


def program_version(controller: Object) -> tuple[int, ...] | None:
    """By the tag of its image, else by its label; None if neither is a version."""
    containers = controller.get("spec", {}).get("template", {}).get("spec", {}).get("containers") or []
    images = [str(each.get("image", "")).partition("@")[0].rpartition("/")[2] for each in containers]
    label = (controller["metadata"].get("labels") or {}).get("app.kubernetes.io/version", "")
    found = (re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", text) for text in (*(_tag(each) for each in images), label))
    return next((tuple(int(part) for part in each.groups() if part) for each in found if each), None)


def _tag(image: str) -> str:
    return image.partition(":")[2]


# --- who needs it ---------------------------------------------------------------------------------------------------


def _count(snapshot: Snapshot) -> int:
    return sum(int(each["spec"].get("replicas", 1)) for each in snapshot.deployments)


def _waits_for_pods(snapshot: Snapshot) -> bool:
    """KServe creates the Deployment, and its webhook is called for each new pod; with all pods, neither is needed."""
    staying = [pod for pod in (Pod(raw, snapshot) for raw in snapshot.pods) if not (pod.is_leaving or pod.is_over)]
    return not snapshot.deployments or len(staying) < max(_count(snapshot), 1)


def wants_none(snapshot: Snapshot) -> bool:
    return _count(snapshot) == 0


def is_keda_s(snapshot: Snapshot) -> bool:
    """Whether KEDA is to change the number of replicas."""
    return snapshot.scaled_object is not None and not pause_of(snapshot.scaled_object, at_zero=True)


def pause_of(scaled_object: Object | None, *, at_zero: bool) -> str:
    """The annotation by which KEDA adds no replica, or removes none, ours or another program's; empty if there is none.
    At zero, there is none to remove."""
    annotations = annotations_of(scaled_object) if scaled_object else {}
    if KEDA_PAUSES_AT in annotations:
        return KEDA_PAUSES_AT
    pauses = KEDA_PAUSES if at_zero else (*KEDA_PAUSES, KEDA_PAUSES_SCALE_IN)
    return next((each for each in pauses if annotations.get(each, "false") not in NOT_PAUSED), "")


# --- what should have been done --------------------------------------------------------------------------------------


def _is_taken_by_kserve(snapshot: Snapshot) -> bool:
    wanted = _class_of(snapshot.inference_service or {"metadata": {}})
    if any(_class_of(each) not in (None, wanted) for each in snapshot.deployments):
        return False  # such a Deployment is scaled by no one
    status = (snapshot.inference_service or {}).get("status") or {}
    return bool(
        snapshot.deployments or status.get("conditions") or status.get("modelStatus", {}).get("lastFailureInfo")
    )


def _class_of(found: Object) -> str | None:
    return annotations_of(found).get(AUTOSCALER_CLASS_ANNOTATION)


def _is_taken_by_keda(snapshot: Snapshot) -> bool:
    return condition(snapshot.scaled_object or {}, "Ready") is not None


def _silent_kserve(snapshot: Snapshot) -> Iterator[Cause]:
    if snapshot.inference_service and not _is_taken_by_kserve(snapshot):
        what = f"KServe has not processed InferenceService {snapshot.inference_service['metadata']['name']}"
        yield from _silent(what, Reason.KSERVE_DOWN, snapshot.inference_service, snapshot.kserve, snapshot.now)


def _silent_keda(snapshot: Snapshot) -> Iterator[Cause]:
    if snapshot.scaled_object and not _is_taken_by_keda(snapshot):
        what = f"KEDA has not processed ScaledObject {snapshot.scaled_object['metadata']['name']}"
        yield from _silent(what, Reason.KEDA_DOWN, snapshot.scaled_object, snapshot.keda, snapshot.now)


def _silent(what: str, reason: Reason, given: Object, part: PlatformPart | None, now: datetime) -> Iterator[Cause]:
    since = created_at(given)
    if since and now - since >= ACTS_WITHIN:
        yield Cause(reason, f"{what}: {_where_to_look(part, reason)}", since)


def _where_to_look(part: PlatformPart | None, reason: Reason) -> str:
    if part and part.controller:
        name = part.controller["metadata"]["name"]
        return f"see its log with kubectl --namespace {part.namespace} logs deployment/{name}"
    flag = "--kserve-namespace" if reason == Reason.KSERVE_DOWN else "--keda-namespace"
    where = f"namespace {part.namespace}" if part else "the namespace where it is looked for"
    return f"its controller isn't in {where}; install it, or set its namespace by the operator's flag {flag}"


# --- what runs it ----------------------------------------------------------------------------------------------------


def _reported(name: str, reason: Reason, part: PlatformPart | None, now: datetime, *, waits: bool) -> Iterator[Cause]:
    outage = outage_of(name, part, now) if part else None
    if outage and outage.is_reported(now, waits=waits):
        yield Cause(reason, outage.message)


def outage_of(name: str, part: PlatformPart, now: datetime) -> Outage | None:
    """None: it runs, or nothing is known about it."""
    controller = part.controller
    if controller is None:
        return None
    who = f"{name}'s controller {part.namespace}/{controller['metadata']['name']}"
    if not int(controller["spec"].get("replicas", 1)):
        command = f"kubectl --namespace {part.namespace} scale deployment/{controller['metadata']['name']} --replicas=1"
        return Outage(f"{who} is scaled to 0 replicas: run {command}", None, is_sure=True)
    pods = _pods(part, now)
    if any(pod.is_ready and not _keeps_crashing(pod, now) for pod in pods):
        return _dead_webhook(name, part, pods)
    if not pods and controller.get("status", {}).get("readyReplicas"):
        return None  # no watch has reported its pods yet
    crashing = [pod for pod in pods if _keeps_crashing(pod, now)]
    return Outage(
        f"{who} isn't running: {_why(controller, crashing or pods)}{', again and again' if crashing else ''}; "
        f"see kubectl --namespace {part.namespace} describe pods",
        None if crashing else _unavailable_since(controller, pods, now),
        is_sure=bool(crashing),
    )


def _pods(part: PlatformPart, now: datetime) -> list[Pod]:
    """Those of its Deployment, diagnosed like the pods of models."""
    selector = ((part.controller or {}).get("spec", {}).get("selector") or {}).get("matchLabels") or {}
    view = Snapshot(now=now)
    return [
        Pod(raw, view)
        for raw in part.pods
        if selector and selector.items() <= (raw["metadata"].get("labels") or {}).items()
    ]


def _why(controller: Object, pods: list[Pod]) -> str:
    found = (cause_of_pod(_as_if_for_the_first_time(pod.raw), pod.snapshot) for pod in pods)
    cause = next((cause for cause in found if cause), None)
    if cause:
        return cause.message.rstrip(".")
    if pods:
        return "none of its pods is ready"
    failure = condition(controller, "ReplicaFailure") or {}
    return words.unwrapped(failure["message"]) if failure.get("status") == "True" else "it has no pod"


def _unavailable_since(controller: Object, pods: list[Pod], now: datetime) -> datetime:
    """By its Deployment; if its status is outdated, by its pods. A terminating pod may have been ready just now."""
    available = condition(controller, "Available") or {}
    since = parse_time(available.get("lastTransitionTime")) if available.get("status") == "False" else None
    return since or max((now if pod.is_leaving else pod.troubled_since or now for pod in pods), default=now)


def _dead_webhook(name: str, part: PlatformPart, pods: list[Pod]) -> Outage | None:
    """Its Service may have no endpoints, though it runs. An unknown Service is no problem: some name it differently."""
    endpoints = [endpoint for each in part.webhook for endpoint in each.get("endpoints") or []]
    if not part.webhook or any((each.get("conditions") or {}).get("ready", True) for each in endpoints):
        return None
    service = (part.webhook[0]["metadata"].get("labels") or {}).get("kubernetes.io/service-name", "")
    since = max((pod.troubled_since for pod in pods if pod.is_ready and pod.troubled_since), default=None)
    return Outage(
        f"{name}'s webhook can't be called: Service {part.namespace}/{service} leads to no ready pod; see kubectl "
        f"--namespace {part.namespace} describe service {service}",
        since,
    )


# --- a pod that keeps crashing ---------------------------------------------------------------------------------------


def _starts(pod: Pod) -> Iterator[datetime]:
    for container in pod.containers():
        if started := parse_time(container.running.get("startedAt")):
            yield started


def _keeps_crashing(pod: Pod, now: datetime) -> bool:
    return any(not each.is_init and _is_crash_looping(each, now) for each in pod.containers())


def _is_crash_looping(container: Container, now: datetime) -> bool:
    """It has terminated more than once, soon after its start, and hasn't run for long since."""
    status = container.status
    last: Object = status.get("state", {}).get("terminated") or status.get("lastState", {}).get("terminated") or {}
    started, ended = parse_time(last.get("startedAt")), parse_time(last.get("finishedAt"))
    if container.ends < TRIES or not (started and ended) or ended - started >= SHORT_LIFE:
        return False
    runs_since = parse_time(container.running.get("startedAt"))
    return runs_since is None or is_near(runs_since, now, STEADY_AFTER)


def _as_if_for_the_first_time(raw: Object) -> Object:
    """The pod as if its containers had terminated once, so that the message doesn't change with each crash."""
    status = raw.get("status", {})
    statuses = [_ended_once(each) for each in status.get("containerStatuses") or []]
    conditions = [each for each in status.get("conditions") or [] if each["type"] != "Ready"]
    return {**raw, "status": {**status, "containerStatuses": statuses, "conditions": conditions}}


def _ended_once(status: Object) -> Object:
    """Not ready, so that the cause of its termination is diagnosed, and without the kubelet's back-off."""
    state = status.get("state", {})
    before = state.get("terminated") or status.get("lastState", {}).get("terminated")
    if not before or (state.get("waiting") or {}).get("reason", "CrashLoopBackOff") != "CrashLoopBackOff":
        return status
    return {**status, "ready": False, "restartCount": 0, "state": {"terminated": before}, "lastState": {}}


def without_moment(outage: Outage | None) -> Outage | None:
    """What of it makes a difference to the status of LLMDeployments."""
    return replace(outage, since=None) if outage else None
