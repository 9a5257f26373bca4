"""Whether KServe and KEDA do their work: read off what runs them, and off what they should have done and haven't.

Thousands of deployments wait for the same two programs, and each tells of them. So that none of them flaps:

- The words stay the same as long as the trouble is the same; they count nothing and name no moment.
- A pause is no outage: a controller whose pod is replaced is back before anybody is told. Who waits for it is told
  after `PASSES_WITHIN`, who serves and doesn't need it just then after `LASTS_AFTER`.
- A controller that keeps ending is down until it has run for `STEADY_AFTER`, though it is ready for moments in between.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from slipway.api.reasons import Reason
from slipway.objects.conditions import condition
from slipway.objects.kinds import Object
from slipway.objects.metadata import created_at
from slipway.objects.times import is_near, parse_time
from slipway.observing import words
from slipway.observing.cause import Cause
from slipway.observing.containers import TRIES, Container
from slipway.observing.pods import Pod, cause_of_pod
from slipway.observing.snapshot import PlatformPart, Snapshot

PASSES_WITHIN = timedelta(seconds=10)
LASTS_AFTER = timedelta(seconds=60)
STEADY_AFTER = timedelta(minutes=2)
SHORT_LIFE = timedelta(minutes=10)  # whatever ends within it doesn't do its work
ACTS_WITHIN = timedelta(seconds=30)
"""After something was given to a controller that runs: a busy one takes its time."""

KEDA_PAUSED = "autoscaling.keda.sh/paused"
SAFE_KEDA = (2, 21)


@dataclass(frozen=True)
class Outage:
    """`since`: None if it comes and goes. Sure: it won't be over in a moment."""

    message: str
    since: datetime | None
    is_sure: bool = False

    def is_told(self, now: datetime, *, waits: bool) -> bool:
        if self.since is None or (waits and self.is_sure):
            return True
        return now - self.since >= (PASSES_WITHIN if waits else LASTS_AFTER)


def causes_in(snapshot: Snapshot) -> Iterator[Cause]:
    """Why this deployment gets no pod, where it waits for one, or would when somebody asks."""
    if _waits_for_pods(snapshot):
        yield from _told("KServe", Reason.KSERVE_DOWN, snapshot.kserve, snapshot.now, waits=True)
        yield from _silent_kserve(snapshot)
    if wants_none(snapshot) and is_keda_s(snapshot):
        yield from _told("KEDA", Reason.KEDA_DOWN, snapshot.keda, snapshot.now, waits=True)
        yield from _silent_keda(snapshot)


def doubt_in(snapshot: Snapshot) -> Cause | None:
    """Why the number of replicas, which is right now, couldn't change."""
    found = [*_told("KServe", Reason.KSERVE_DOWN, snapshot.kserve, snapshot.now, waits=False)]
    if is_keda_s(snapshot):
        found += [*_told("KEDA", Reason.KEDA_DOWN, snapshot.keda, snapshot.now, waits=False), *_silent_keda(snapshot)]
    return next(iter(found), None)


def moments_in(snapshot: Snapshot) -> Iterator[datetime]:
    """When something else may be said, though nothing changes. Some of them have passed."""
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
    """When a pod that keeps ending will have run for long enough, though nothing changes."""
    moments = (began for pod in _pods(part, now) if _comes_and_goes(pod, now) for began in _begins(pod))
    return min((began + STEADY_AFTER for began in moments), default=None)


def remarks(keda: PlatformPart | None) -> Iterator[str]:
    """What a person should know of the platform that stops nothing."""
    version = program_version(keda.controller) if keda and keda.controller else None
    if version and version < SAFE_KEDA:
        told, safe = (".".join(map(str, each)) for each in (version, SAFE_KEDA))
        yield f"KedaTooOld: KEDA {told} has the critical CVE-2026-77524; update it to {safe} or later."


def program_version(controller: Object) -> tuple[int, ...] | None:
    """By the tag of its image, else by its label; None if neither is a version."""
    containers = controller.get("spec", {}).get("template", {}).get("spec", {}).get("containers") or []
    images = [str(each.get("image", "")).partition("@")[0].rpartition("/")[2] for each in containers]
    label = (controller["metadata"].get("labels") or {}).get("app.kubernetes.io/version", "")
    found = (re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", text) for text in (*(_tag(each) for each in images), label))
    return next((tuple(int(part) for part in each.groups() if part) for each in found if each), None)


def _tag(image: str) -> str:
    return image.partition(":")[2]


# --- who needs whom --------------------------------------------------------------------------------------------------


def _count(snapshot: Snapshot) -> int:
    return sum(int(each["spec"].get("replicas", 1)) for each in snapshot.deployments)


def _waits_for_pods(snapshot: Snapshot) -> bool:
    """KServe makes the Deployment, and its webhook is asked for each new pod; who has all pods needs neither."""
    staying = [pod for pod in (Pod(raw, snapshot) for raw in snapshot.pods) if not (pod.is_leaving or pod.is_over)]
    return not snapshot.deployments or len(staying) < max(_count(snapshot), 1)


def wants_none(snapshot: Snapshot) -> bool:
    return _count(snapshot) == 0


def is_keda_s(snapshot: Snapshot) -> bool:
    """Whether KEDA is to change the number of replicas."""
    annotations = (snapshot.scaled_object or {}).get("metadata", {}).get("annotations") or {}
    return snapshot.scaled_object is not None and annotations.get(KEDA_PAUSED) != "true"


# --- what should have been done --------------------------------------------------------------------------------------


def _is_taken_by_kserve(snapshot: Snapshot) -> bool:
    told = (snapshot.inference_service or {}).get("status") or {}
    return bool(snapshot.deployments or told.get("conditions") or told.get("modelStatus", {}).get("lastFailureInfo"))


def _is_taken_by_keda(snapshot: Snapshot) -> bool:
    return condition(snapshot.scaled_object or {}, "Ready") is not None


def _silent_kserve(snapshot: Snapshot) -> Iterator[Cause]:
    if snapshot.inference_service and not _is_taken_by_kserve(snapshot):
        what = f"KServe has made nothing of InferenceService {snapshot.inference_service['metadata']['name']}"
        yield from _silent(what, Reason.KSERVE_DOWN, snapshot.inference_service, snapshot.kserve, snapshot.now)


def _silent_keda(snapshot: Snapshot) -> Iterator[Cause]:
    if snapshot.scaled_object and not _is_taken_by_keda(snapshot):
        what = f"KEDA has made nothing of ScaledObject {snapshot.scaled_object['metadata']['name']}"
        yield from _silent(what, Reason.KEDA_DOWN, snapshot.scaled_object, snapshot.keda, snapshot.now)


def _silent(what: str, reason: Reason, given: Object, part: PlatformPart | None, now: datetime) -> Iterator[Cause]:
    since = created_at(given)
    if since and now - since >= ACTS_WITHIN:
        yield Cause(reason, f"{what}: {_where_to_look(part, reason)}", since)


def _where_to_look(part: PlatformPart | None, reason: Reason) -> str:
    if part and part.controller:
        name = part.controller["metadata"]["name"]
        return f"see what it says with kubectl --namespace {part.namespace} logs deployment/{name}"
    flag = "--kserve-namespace" if reason == Reason.KSERVE_DOWN else "--keda-namespace"
    where = f"namespace {part.namespace}" if part else "the namespace where it is looked for"
    return f"its controller isn't in {where}; install it, or name its namespace with the operator's flag {flag}"


# --- what runs it ----------------------------------------------------------------------------------------------------


def _told(name: str, reason: Reason, part: PlatformPart | None, now: datetime, *, waits: bool) -> Iterator[Cause]:
    outage = outage_of(name, part, now) if part else None
    if outage and outage.is_told(now, waits=waits):
        yield Cause(reason, outage.message)


def outage_of(name: str, part: PlatformPart, now: datetime) -> Outage | None:
    """None: it runs, or nobody knows."""
    controller = part.controller
    if controller is None:
        return None
    who = f"{name}'s controller {part.namespace}/{controller['metadata']['name']}"
    if not int(controller["spec"].get("replicas", 1)):
        command = f"kubectl --namespace {part.namespace} scale deployment/{controller['metadata']['name']} --replicas=1"
        return Outage(f"{who} is scaled to 0 replicas: {command} brings it back", None, is_sure=True)
    pods = _pods(part, now)
    if any(pod.is_ready and not _comes_and_goes(pod, now) for pod in pods):
        return _dead_webhook(name, part, pods)
    if not pods and controller.get("status", {}).get("readyReplicas"):
        return None  # its pods haven't been told of yet
    keeps_ending = [pod for pod in pods if _comes_and_goes(pod, now)]
    return Outage(
        f"{who} isn't running: {_why(controller, keeps_ending or pods)}{', again and again' if keeps_ending else ''}; "
        f"see kubectl --namespace {part.namespace} describe pods",
        None if keeps_ending else _unavailable_since(controller, pods, now),
        is_sure=bool(keeps_ending),
    )


def _pods(part: PlatformPart, now: datetime) -> list[Pod]:
    """Those of its Deployment. What is read of them is read as of models' pods."""
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
    return words.plain(failure["message"]) if failure.get("status") == "True" else "it has no pod"


def _unavailable_since(controller: Object, pods: list[Pod], now: datetime) -> datetime:
    """By its Deployment; where that doesn't know yet, by its pods. One that leaves may have been ready just now."""
    available = condition(controller, "Available") or {}
    told = parse_time(available.get("lastTransitionTime")) if available.get("status") == "False" else None
    return told or max((now if pod.is_leaving else pod.troubled_since or now for pod in pods), default=now)


def _dead_webhook(name: str, part: PlatformPart, pods: list[Pod]) -> Outage | None:
    """Its Service may lead nowhere, though it runs. What isn't known is no trouble: some have another name for it."""
    endpoints = [endpoint for each in part.webhook for endpoint in each.get("endpoints") or []]
    if not part.webhook or any((each.get("conditions") or {}).get("ready", True) for each in endpoints):
        return None
    service = (part.webhook[0]["metadata"].get("labels") or {}).get("kubernetes.io/service-name", "")
    since = max((pod.troubled_since for pod in pods if pod.is_ready and pod.troubled_since), default=None)
    return Outage(
        f"{name}'s webhook can't be asked: Service {part.namespace}/{service} leads to no ready pod; see kubectl "
        f"--namespace {part.namespace} describe service {service}",
        since,
    )


# --- a pod that keeps ending -----------------------------------------------------------------------------------------


def _begins(pod: Pod) -> Iterator[datetime]:
    for container in pod.containers():
        if began := parse_time(container.running.get("startedAt")):
            yield began


def _comes_and_goes(pod: Pod, now: datetime) -> bool:
    return any(not each.is_init and _keeps_ending(each, now) for each in pod.containers())


def _keeps_ending(container: Container, now: datetime) -> bool:
    """It has ended more than once, soon after its begin, and hasn't run for long since."""
    status = container.status
    last: Object = status.get("state", {}).get("terminated") or status.get("lastState", {}).get("terminated") or {}
    began, ended = parse_time(last.get("startedAt")), parse_time(last.get("finishedAt"))
    if container.ends < TRIES or not (began and ended) or ended - began >= SHORT_LIFE:
        return False
    runs_since = parse_time(container.running.get("startedAt"))
    return runs_since is None or is_near(runs_since, now, STEADY_AFTER)


def _as_if_for_the_first_time(raw: Object) -> Object:
    """A pod whose containers have ended once, whenever: the words are the same each time then."""
    status = raw.get("status", {})
    statuses = [_ended_once(each) for each in status.get("containerStatuses") or []]
    conditions = [each for each in status.get("conditions") or [] if each["type"] != "Ready"]
    return {**raw, "status": {**status, "containerStatuses": statuses, "conditions": conditions}}


def _ended_once(status: Object) -> Object:
    """It isn't ready, so that what it died of is looked for; nothing is said of the kubelet's next try."""
    state = status.get("state", {})
    before = state.get("terminated") or status.get("lastState", {}).get("terminated")
    if not before or (state.get("waiting") or {}).get("reason", "CrashLoopBackOff") != "CrashLoopBackOff":
        return status
    return {**status, "ready": False, "restartCount": 0, "state": {"terminated": before}, "lastState": {}}


def without_moment(outage: Outage | None) -> Outage | None:
    """What of it makes a difference to those who wait for it."""
    return replace(outage, since=None) if outage else None
