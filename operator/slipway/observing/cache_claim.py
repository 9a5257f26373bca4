"""Whether the claim of a cache keeps a replica from running, by the scheduler and the kubelet. Pure.

Only then is the claim given up. A replica that waits for anything else, such as a free accelerator, keeps it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from slipway.api.names import KIND, NEXT_TO_ANNOTATION
from slipway.objects.conditions import condition, is_true
from slipway.objects.kinds import Object
from slipway.objects.metadata import annotations_of, controller_of, created_at, name_of, uid_of
from slipway.objects.times import parse_time
from slipway.observing import words
from slipway.observing.pods import OVERDUE, VOLUME_EVENTS, Pod
from slipway.observing.snapshot import ObservedEvent, Snapshot

BOUND_WITHIN = timedelta(seconds=60)  # from the creation of the pod that needs it; clouds make a disk in less
PLACED_WITHIN = timedelta(seconds=20)  # where the volume exists, and only nodes that can't reach it have room
MOUNTED_WITHIN = timedelta(seconds=90)  # from the time at which the pod got its node; clouds attach a disk in less
ABOUT_VOLUMES = re.compile(r"volume|persistentvolumeclaim|\bpvc|free storage", re.IGNORECASE)
ABOUT_PLACES = re.compile(r"volume node affinity conflict|didn't match PersistentVolume's node affinity")
NAMED = re.compile(r'persistentvolumeclaim "([^"]+)"', re.IGNORECASE)
UNBOUND = "unbound immediate PersistentVolumeClaims"
UNMOUNTED = re.compile(r"unmounted volumes=\[([^\]]*)\]")
ONE_POD_ONLY = "ReadWriteOncePod"
HAS_SANDBOX = "PodReadyToStartContainers"  # a condition of pods
ONCE_MOUNTED = ("Pulling", "Pulled", "Created", "Started", "FailedCreatePodSandBox")
"""Events of what the kubelet does only after all volumes are mounted."""
BOUND, LOST = "Bound", "Lost"
VOLUME = "slipway-compiled"


class Trouble(NamedTuple):
    """Why the claim is given up: one word, and a sentence without its full stop."""

    reason: str
    message: str


class Doubt(NamedTuple):
    """What becomes trouble if it lasts until then."""

    until: datetime
    trouble: Trouble


def is_ours(claim: Object, llm_deployment: Object) -> bool:
    """Whether the LLMDeployment is its controller. Labels don't suffice: what is in it will be executed."""
    owner = controller_of(claim) or {}
    return (owner.get("kind"), owner.get("uid")) == (KIND, uid_of(llm_deployment))


def phase_of(claim: Object) -> str:
    return str((claim.get("status") or {}).get("phase") or "")


def trouble_with(claim: Object, snapshot: Snapshot, *, takes_turns: bool, volume: str = VOLUME) -> Trouble | None:
    """Why no replica can run with this claim, which its pods mount as `volume`. `takes_turns`: a new replica starts
    once the old one has stopped, so that it may wait for a volume that the old one has."""
    if phase_of(claim) == LOST:
        return Trouble("ClaimLost", f"the volume of the claim {name_of(claim)} is gone")
    doubts = _doubts(claim, snapshot, takes_turns=takes_turns, volume=volume)
    return next((each.trouble for each in doubts if each.until <= snapshot.now), None)


def next_moment(claim: Object, snapshot: Snapshot, *, takes_turns: bool, volume: str = VOLUME) -> datetime | None:
    """When time alone makes it trouble."""
    doubts = _doubts(claim, snapshot, takes_turns=takes_turns, volume=volume)
    return min((each.until for each in doubts if each.until > snapshot.now), default=None)


def _doubts(claim: Object, snapshot: Snapshot, *, takes_turns: bool, volume: str) -> Iterator[Doubt]:
    for pod in (Pod(raw, snapshot) for raw in snapshot.pods):
        if not pod.is_on_its_way:
            continue
        doubt = _unmounted(pod, claim, volume) if pod.node else _unplaced(pod, claim, takes_turns=takes_turns)
        if doubt:
            yield doubt


def _unplaced(pod: Pod, claim: Object, *, takes_turns: bool) -> Doubt | None:
    said, name = _scheduler_says(pod.raw), name_of(claim)
    if said and not _is_about(said, claim):
        return None
    if phase_of(claim) != BOUND:
        return _unbound(pod, claim, said)
    if not said or (_is_next_to_others(claim, pod.snapshot) and not ABOUT_VOLUMES.search(ABOUT_PLACES.sub("", said))):
        return None
    until = _unplaced_since(pod) + PLACED_WITHIN
    if takes_turns and ONE_POD_ONLY in said:
        ends = [_gone_by(each) for each in _holders(pod)]
        if None in ends:
            return None  # its end makes room, as in every rollout
        until = max((until, *(each for each in ends if each)))
    message = f"the volume of the claim {name} keeps replicas from all nodes: {words.shorten(said)}"
    return Doubt(until, Trouble("VolumeElsewhere", message))


def _unbound(pod: Pod, claim: Object, said: str) -> Doubt | None:
    """While another claim of the pod isn't bound either, ours is not what it waits for."""
    if any(phase_of(each) != BOUND for each in pod.snapshot.claims):
        return None
    why = f": {words.shorten(said)}" if said else ""
    message = f"the claim {name_of(claim)} was not bound within {BOUND_WITHIN.seconds} s{why}"
    since = _latest(pod, pod.created, pod.snapshot.named_volumes_at.get(uid_of(pod.raw)))
    return Doubt(since + BOUND_WITHIN, Trouble("ClaimNotBound", message))


def names_volumes(pod: Object) -> bool:
    """Whether the scheduler says that volumes keep it from a node."""
    return not pod["spec"].get("nodeName") and bool(ABOUT_VOLUMES.search(_scheduler_says(pod)))


def _scheduler_says(pod: Object) -> str:
    return str((condition(pod, "PodScheduled") or {}).get("message") or "")


def _is_about(said: str, claim: Object) -> bool:
    """Whether it may be about our claim, and not about another one of the pod."""
    if named := NAMED.findall(said):
        return name_of(claim) in named
    if UNBOUND in said:
        return phase_of(claim) != BOUND
    return bool(ABOUT_VOLUMES.search(said))


def _is_next_to_others(claim: Object, snapshot: Snapshot) -> bool:
    """Whether a volume of the model keeps its pods from the same nodes in any case: ours was made for pods that had
    that one, by the same class, which makes volumes where their pods are."""
    of_class = [each for each in snapshot.storage_classes or () if name_of(each) == _class_of(claim)]
    if not any(each.get("volumeBindingMode") == "WaitForFirstConsumer" for each in of_class):
        return False
    known, made_at = annotations_of(claim).get(NEXT_TO_ANNOTATION, "").split(","), created_at(claim)
    others = (each for each in snapshot.claims if name_of(each) in known and _class_of(each) == _class_of(claim))
    times = (created_at(each) for each in others if phase_of(each) == BOUND)
    return made_at is not None and any(each is not None and each <= made_at for each in times)


def _class_of(claim: Object) -> str:
    return str((claim.get("spec") or {}).get("storageClassName") or "")


def _unplaced_since(pod: Pod) -> datetime:
    """Kubernetes has only the time since when the pod has no node, maybe for other reasons at first. And when an older
    pod is gone, what the scheduler has said before is outdated."""
    rejected = parse_time((condition(pod.raw, "PodScheduled") or {}).get("lastTransitionTime"))
    seen = pod.snapshot.named_volumes_at.get(uid_of(pod.raw))
    return _latest(pod, rejected or pod.created, seen, pod.snapshot.place_freed_at)


def _latest(pod: Pod, known: datetime | None, *seen: datetime | None) -> datetime:
    """`seen`: by our clock. Moments ahead of it don't count: it was set back."""
    now = pod.snapshot.now
    return max((known or now, *(each for each in seen if each and each <= now)))


def _holders(pod: Pod) -> list[Pod]:
    """The other pods of the model that may still have the volume."""
    others = (Pod(raw, pod.snapshot) for raw in pod.snapshot.pods if name_of(raw) != pod.name)
    return [each for each in others if each.node and not each.is_over]


def _gone_by(pod: Pod) -> datetime | None:
    """When it counts as stuck, as on a node that is lost; None: it isn't being deleted."""
    due = parse_time(pod.raw["metadata"].get("deletionTimestamp"))
    return due + OVERDUE if due else None


def _unmounted(pod: Pod, claim: Object, volume: str) -> Doubt | None:
    """The kubelet, or the controller that attaches volumes, reports it only in events."""
    bound_to = str((claim.get("spec") or {}).get("volumeName") or "")
    others = [each for each in (f'"{bound_to}"' if bound_to else "", name_of(claim)) if each]
    for event in failures_of_volumes(pod):
        if is_about_store(event.message, *others, volume=volume):
            since = parse_time((condition(pod.raw, "PodScheduled") or {}).get("lastTransitionTime")) or pod.created
            message = f"the volume of the claim {name_of(claim)} was not mounted within {MOUNTED_WITHIN.seconds} s"
            trouble = Trouble("VolumeNotMounted", f"{message}: {words.shorten(event.message)}")
            return Doubt((since or pod.snapshot.now) + MOUNTED_WITHIN, trouble)
    return None


def failures_of_volumes(pod: Pod) -> Iterator[ObservedEvent]:
    """The events that say it, the newest first, without those from before its volumes were mounted: the first attempt
    often fails, and the event stays for an hour."""
    if any(each.has_run for each in pod.containers()) or is_true(pod.raw, HAS_SANDBOX):
        return
    now = pod.snapshot.now
    mounted = [event.last_seen or now for event in pod.events() if event.reason in ONCE_MOUNTED]
    for event in pod.events():
        if event.reason in VOLUME_EVENTS and not any(each >= (event.last_seen or now) for each in mounted):
            yield event


def is_about_store(message: str, *others: str, volume: str = VOLUME) -> bool:
    """`others`: the other names of its volume. Among those that aren't mounted, the kubelet may list what is."""
    if found := UNMOUNTED.search(message):
        return volume in re.split(r"[\s,]+", found[1])
    return any(each in message for each in (volume, *others))
