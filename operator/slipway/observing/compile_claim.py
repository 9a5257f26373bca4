"""Whether the claim for compiled code keeps a replica from running, by the scheduler and the kubelet. Pure.

Only then is the claim given up. A replica that waits for anything else, such as a free accelerator, keeps it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from slipway.api.names import KIND
from slipway.objects.conditions import condition
from slipway.objects.kinds import Object
from slipway.objects.metadata import controller_of, name_of, uid_of
from slipway.objects.times import parse_time
from slipway.observing import words
from slipway.observing.pods import VOLUME_EVENTS, Pod
from slipway.observing.snapshot import Snapshot

BOUND_WITHIN = timedelta(seconds=60)  # from the creation of the pod that needs it; clouds make a disk in less
PLACED_WITHIN = timedelta(seconds=20)  # where the volume exists, and only nodes that can't reach it have room
MOUNTED_WITHIN = timedelta(seconds=90)  # from the time at which the pod got its node; clouds attach a disk in less
ABOUT_VOLUMES = re.compile(r"volume|persistentvolumeclaim|\bpvc|free storage", re.IGNORECASE)
ONE_POD_ONLY = "ReadWriteOncePod"
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


def trouble_with(claim: Object, snapshot: Snapshot, *, takes_turns: bool) -> Trouble | None:
    """Why no replica can run with this claim, which its pods mount. `takes_turns`: a new replica starts once the old
    one has stopped, so that it may wait for a volume that the old one has."""
    if phase_of(claim) == LOST:
        return Trouble("ClaimLost", f"the volume of the claim {name_of(claim)} is gone")
    doubts = _doubts(claim, snapshot, takes_turns=takes_turns)
    return next((each.trouble for each in doubts if each.until <= snapshot.now), None)


def next_moment(claim: Object, snapshot: Snapshot, *, takes_turns: bool) -> datetime | None:
    """When time alone makes it trouble."""
    doubts = _doubts(claim, snapshot, takes_turns=takes_turns)
    return min((each.until for each in doubts if each.until > snapshot.now), default=None)


def _doubts(claim: Object, snapshot: Snapshot, *, takes_turns: bool) -> Iterator[Doubt]:
    for pod in (Pod(raw, snapshot) for raw in snapshot.pods):
        if not pod.is_on_its_way:
            continue
        doubt = _unmounted(pod, claim) if pod.node else _unplaced(pod, claim, takes_turns=takes_turns)
        if doubt:
            yield doubt


def _unplaced(pod: Pod, claim: Object, *, takes_turns: bool) -> Doubt | None:
    scheduled, name = condition(pod.raw, "PodScheduled") or {}, name_of(claim)
    said = str(scheduled.get("message") or "")
    since = pod.created or pod.snapshot.now
    if phase_of(claim) != BOUND:
        if said and not ABOUT_VOLUMES.search(said):
            return None
        why = f": {words.shorten(said)}" if said else ""
        message = f"the claim {name} was not bound within {BOUND_WITHIN.seconds} s{why}"
        return Doubt(since + BOUND_WITHIN, Trouble("ClaimNotBound", message))
    waits_for_its_turn = takes_turns and ONE_POD_ONLY in said and _has_another(pod)
    if not ABOUT_VOLUMES.search(said) or waits_for_its_turn:
        return None
    since = parse_time(scheduled.get("lastTransitionTime")) or since
    message = f"the volume of the claim {name} keeps replicas from all nodes: {words.shorten(said)}"
    return Doubt(since + PLACED_WITHIN, Trouble("VolumeElsewhere", message))


def _has_another(pod: Pod) -> bool:
    """Whether an older pod of the model still has the volume: its end makes room, as in every rollout."""
    others = (raw for raw in pod.snapshot.pods if name_of(raw) != pod.name)
    return any(raw["spec"].get("nodeName") and not Pod(raw, pod.snapshot).is_over for raw in others)


def _unmounted(pod: Pod, claim: Object) -> Doubt | None:
    """The kubelet, or the controller that attaches volumes, reports it only in events."""
    if any(each.running or each.status.get("started") for each in pod.containers()):
        return None
    volume = str((claim.get("spec") or {}).get("volumeName") or "")
    about = [each for each in (f'"{volume}"' if volume else "", VOLUME, name_of(claim)) if each]
    for event in pod.events():
        if event.reason in VOLUME_EVENTS and any(each in event.message for each in about):
            since = parse_time((condition(pod.raw, "PodScheduled") or {}).get("lastTransitionTime")) or pod.created
            message = f"the volume of the claim {name_of(claim)} was not mounted within {MOUNTED_WITHIN.seconds} s"
            trouble = Trouble("VolumeNotMounted", f"{message}: {words.shorten(event.message)}")
            return Doubt((since or pod.snapshot.now) + MOUNTED_WITHIN, trouble)
    return None
