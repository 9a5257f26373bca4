"""What is wrong with one pod: its scheduling, its node, its volumes, its containers, its termination."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from slipway.api.names import NODE_CACHE_DRIVER
from slipway.api.reasons import Reason
from slipway.objects.conditions import condition, is_false, is_true
from slipway.objects.kinds import Object
from slipway.objects.times import parse_time
from slipway.observing import words
from slipway.observing.cause import Cause
from slipway.observing.containers import SAME_MOMENT, Container, cause_of_container
from slipway.observing.snapshot import ObservedEvent, Snapshot

OVERDUE = timedelta(seconds=30)  # beyond its grace period, which deletionTimestamp includes
ENDED = ("Failed", "Succeeded")  # phases
MOST_SETS = 4  # of labels that a message lists


@dataclass(frozen=True)
class Pod:
    """A pod, with the snapshot that it is a part of."""

    raw: Object
    snapshot: Snapshot

    @property
    def name(self) -> str:
        return str(self.raw["metadata"]["name"])

    @property
    def is_ready(self) -> bool:
        return is_true(self.raw, "Ready") and not self.is_leaving

    @property
    def is_leaving(self) -> bool:
        return "deletionTimestamp" in self.raw["metadata"]

    @property
    def is_over(self) -> bool:
        """It has ended permanently; unless it is deleted, it stays visible."""
        return self.raw.get("status", {}).get("phase") in ENDED

    @property
    def is_left_behind(self) -> bool:
        return self.is_over and not self.is_leaving

    @property
    def is_on_its_way(self) -> bool:
        return not (self.is_ready or self.is_leaving or self.is_over)

    @property
    def created(self) -> datetime | None:
        return parse_time(self.raw["metadata"].get("creationTimestamp"))

    @property
    def node(self) -> str:
        return str(self.raw["spec"].get("nodeName") or "")

    @property
    def troubled_since(self) -> datetime | None:
        ready = condition(self.raw, "Ready") or {}
        return parse_time(ready.get("lastTransitionTime")) or self.created

    @property
    def has_been_ready(self) -> bool:
        """It isn't ready now, and the kubelet reported it ready some time after it was initialized."""
        initialized, ready = (condition(self.raw, kind) or {} for kind in ("Initialized", "Ready"))
        initialized_at, changed_at = (parse_time(each.get("lastTransitionTime")) for each in (initialized, ready))
        return bool(initialized_at and changed_at and changed_at - initialized_at > SAME_MOMENT)

    def events(self) -> tuple[ObservedEvent, ...]:
        return tuple(self.snapshot.events_of(self.raw))

    def containers(self) -> Iterator[Container]:
        """Those that the kubelet has reported, in the order in which they start."""
        status = self.raw.get("status", {})
        for specs, statuses in (("initContainers", "initContainerStatuses"), ("containers", "containerStatuses")):
            by_name = {each["name"]: each for each in status.get(statuses) or []}
            for spec in self.raw["spec"].get(specs) or []:
                if known := by_name.get(spec["name"]):
                    is_init = specs == "initContainers" and spec.get("restartPolicy") != "Always"
                    yield Container(spec, known, self.events(), is_init, self.troubled_since, self.has_been_ready)

    def cause(self, reason: Reason, message: str, since: datetime | None = None) -> Cause:
        return Cause(reason, message, since or self.troubled_since, reason.is_final)


def cause_of_pod(raw: Object, snapshot: Snapshot) -> Cause | None:
    """The first diagnosis in the table that applies; None for a pod that is ready."""
    pod = Pod(raw, snapshot)
    if pod.is_ready:
        return None
    found = (diagnosis(pod) for diagnosis in (DIAGNOSES_LEAVING if pod.is_leaving else DIAGNOSES))
    cause = next((cause for cause in found if cause), None)
    return replace(cause, pod=pod.name) if cause else None


def has_ready_pod(snapshot: Snapshot) -> bool:
    return any(Pod(raw, snapshot).is_ready for raw in snapshot.pods)


def has_pod_on_node(snapshot: Snapshot) -> bool:
    return any(raw["spec"].get("nodeName") for raw in snapshot.pods)


def waits_for_place(snapshot: Snapshot) -> bool:
    """Whether the scheduler has found a node for none of its pods, and doesn't make room on one."""
    return bool(snapshot.pods) and all(_has_no_place(raw) for raw in snapshot.pods)


def without_place_since(snapshot: Snapshot) -> datetime | None:
    """Since when it has had no node; None: it has one, or may still get one. What its last pod held is counted as free
    only some time after that pod is gone."""
    if not waits_for_place(snapshot):
        return None
    known = (_unscheduled_since(Pod(raw, snapshot)) for raw in snapshot.pods)
    return max((each for each in (*known, snapshot.place_freed_at) if each), default=None)


def _unscheduled_since(pod: Pod) -> datetime | None:
    scheduled = condition(pod.raw, "PodScheduled") or {}
    return parse_time(scheduled.get("lastTransitionTime")) or pod.created


def _has_no_place(raw: Object) -> bool:
    scheduled = condition(raw, "PodScheduled") or {}
    has_place = raw["spec"].get("nodeName") or raw.get("status", {}).get("nominatedNodeName")
    return not has_place and (scheduled.get("status"), scheduled.get("reason")) == ("False", "Unschedulable")


# --- the diagnoses ---------------------------------------------------------------------------------------------------


def stuck(pod: Pod) -> Cause | None:
    due = parse_time(pod.raw["metadata"]["deletionTimestamp"])
    if not due or pod.snapshot.now < due + OVERDUE:
        return None
    finalizers = ", ".join(pod.raw["metadata"].get("finalizers") or [])
    why = f"waits for its finalizers: {finalizers}" if finalizers else f"is not stopped by its node {pod.node}"
    return pod.cause(Reason.POD_STUCK, f"Pod {pod.name} should have been gone by {due:%H:%M:%S} UTC; it {why}", due)


def evicted(pod: Pod) -> Cause | None:
    """It was evicted or preempted: the condition DisruptionTarget says by which component, the pod's status why."""
    status = pod.raw.get("status", {})
    disruption = condition(pod.raw, "DisruptionTarget") or {}
    message = status.get("message") or disruption.get("message") or ""
    since = parse_time(disruption.get("lastTransitionTime"))
    if reason := EVICTED_BY.get(disruption.get("reason", "")) or EVICTED_BY.get(status.get("reason", "")):
        return pod.cause(reason, words.shorten(message) or reason.meaning, since)
    return None


def refused_by_kubelet(pod: Pod) -> Cause | None:
    """The kubelet of the scheduled node rejected it: OutOfcpu, UnexpectedAdmissionError, NodeAffinity…"""
    status = pod.raw.get("status", {})
    if not (pod.is_over and status.get("reason") and not status.get("containerStatuses")):
        return None
    return pod.cause(Reason.UNSCHEDULABLE, f"{status['reason']}: {words.shorten(status.get('message', ''))}")


def no_place(pod: Pod) -> Cause | None:
    scheduled = condition(pod.raw, "PodScheduled") or {}
    since = parse_time(scheduled.get("lastTransitionTime"))
    match scheduled.get("status"), scheduled.get("reason"):
        case "False", "SchedulingGated":
            return pod.cause(Reason.UNSCHEDULABLE, f"The pod waits in a queue: {scheduled.get('message', '')}", since)
        case "False", _:
            said = words.explain_scheduler(scheduled.get("message", ""))
            return pod.cause(said.reason, said.words + _kind_of_node(pod, said), since)
    return None


def _kind_of_node(pod: Pod, said: words.Said) -> str:
    """The scheduler's message doesn't name the labels that the pod requires."""
    sets = [each for each in _required_labels(pod.raw["spec"]) if each]
    if not sets or said.reason != Reason.UNSCHEDULABLE or "Pod's node affinity/selector" not in said.words:
        return ""
    return f"; it requires a node with {', or with '.join(map(', '.join, sets[:MOST_SETS]))}"


def _required_labels(spec: Object) -> list[list[str]]:
    """The labels that a node must have, all of any one set. Only those that are required by their value."""
    everywhere = [f"{name}={value}" for name, value in (spec.get("nodeSelector") or {}).items()]
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    terms = (affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}).get("nodeSelectorTerms") or [{}]
    return [[*everywhere, *_labels_of_term(term)] for term in terms]


def _labels_of_term(term: Object) -> Iterator[str]:
    for each in term.get("matchExpressions") or []:
        if each.get("operator") == "In" and len(each.get("values") or []) == 1:
            yield f"{each['key']}={each['values'][0]}"


def node_lost(pod: Pod) -> Cause | None:
    nodes = pod.snapshot.nodes
    if nodes is None or not pod.node:
        return None
    if pod.node not in nodes:
        return pod.cause(Reason.NODE_LOST, f"Node {pod.node} is gone")
    ready = condition(nodes[pod.node], "Ready") or {}
    if ready.get("status") == "True" or not ready:
        return None
    message = f"Node {pod.node} isn't ready: {words.shorten(ready.get('message') or ready.get('reason', ''))}"
    return pod.cause(Reason.NODE_LOST, message, parse_time(ready.get("lastTransitionTime")))


def bad_container(pod: Pod) -> Cause | None:
    found = (cause_of_container(container, now=pod.snapshot.now) for container in pod.containers())
    return next((cause for cause in found if cause), None)


def no_volume(pod: Pod) -> Cause | None:
    """The kubelet reports it only in events; once a container has started, they are outdated."""
    if not pod.node or not is_false(pod.raw, "Ready") or any(each.status.get("started") for each in pod.containers()):
        return None
    for event in pod.events():
        if event.reason == "FailedMount" and (message := _of_driver(pod, event.message)):
            return pod.cause(Reason.VOLUME_NOT_READY, message)
        if event.reason in VOLUME_EVENTS and not PASSES_AT_ONCE.search(event.message):
            missing = event.reason == "FailedMount" and "not found" in event.message
            reason = Reason.POD_CONFIG_ERROR if missing else Reason.VOLUME_NOT_READY
            return pod.cause(reason, words.shorten(event.message))
        if event.reason == "FailedCreatePodSandBox":
            return pod.cause(Reason.VOLUME_NOT_READY, words.shorten(event.message))
    return None


def _of_driver(pod: Pod, message: str) -> str | None:
    """What the kubelet says of a CSI driver that isn't on the node, and what the node plugin says that has no room."""
    if found := DRIVER_MISSING.search(message):
        remedy = "let the node plugin run there (modelCache.node of the chart), or set model.cache.kind to PVC or None"
        if found[1] != NODE_CACHE_DRIVER:
            remedy = "let that driver run there, or use another StorageClass"
        return f"Node {pod.node} has no CSI driver {found[1][:253]} now: {remedy}"
    if found := NO_ROOM.search(message):
        return words.shorten(f"The model cache of node {pod.node} has no room: {found[1]}")
    return None


DIAGNOSES: tuple[Callable[[Pod], Cause | None], ...] = (
    evicted,
    refused_by_kubelet,
    no_place,
    node_lost,
    bad_container,
    no_volume,
)
DIAGNOSES_LEAVING: tuple[Callable[[Pod], Cause | None], ...] = (evicted, node_lost, stuck)

EVICTED_BY = {
    "Evicted": Reason.EVICTED,
    "TerminationByKubelet": Reason.EVICTED,
    "EvictionByEvictionAPI": Reason.EVICTED,
    "Preempting": Reason.PREEMPTED,
    "PreemptionByScheduler": Reason.PREEMPTED,
    "DeletionByTaintManager": Reason.NODE_LOST,
    "DeletionByPodGC": Reason.NODE_LOST,
    "NodeLost": Reason.NODE_LOST,
    "Terminated": Reason.NODE_LOST,  # the node was shut down
}
VOLUME_EVENTS = ("FailedMount", "FailedAttachVolume", "FailedMapVolume")
DRIVER_MISSING = re.compile(r"driver name (\S+) not found in the list of registered CSI drivers")
NO_ROOM = re.compile(r'volume "slipway-weights" : rpc error: code = ResourceExhausted desc = (.+)')
PASSES_AT_ONCE = re.compile(
    r"failed to sync (?:configmap|secret) cache|object \S+ not registered|no relationship found between node"
)
"""Messages of a busy kubelet, or of one that may not read a new pod's objects yet; it retries."""
