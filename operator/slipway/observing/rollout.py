"""How far a new version has come, and whether it lacks a place that only the old one can give it."""

from __future__ import annotations

from datetime import datetime, timedelta

from slipway.api.reasons import Reason
from slipway.objects.kinds import Object
from slipway.objects.times import is_near
from slipway.observing.causes import of_replica_makers
from slipway.observing.pods import Pod, no_place, stuck
from slipway.observing.snapshot import Snapshot

TEMPLATE_HASH, NO_VERSION = "pod-template-hash", ""
TAKEN_WITHIN = timedelta(seconds=3)
"""Of a place that became free: so long may the scheduler let a pod wait that it has just turned away."""
NO_ROOM = (Reason.UNSCHEDULABLE, Reason.QUOTA_EXCEEDED)


def is_updating(snapshot: Snapshot) -> bool:
    """Pods of an older version are still there. Deployment and pods are watched apart: either may tell it first."""
    staying = (pod.raw for pod in (Pod(raw, snapshot) for raw in snapshot.pods) if not (pod.is_leaving or pod.is_over))
    versions = {template_hash_of(raw) for raw in staying} - {NO_VERSION}
    return any(map(_has_old_pods, snapshot.deployments)) or len(versions) > 1


def has_missing(snapshot: Snapshot) -> bool:
    """Not all replicas are there, or not all are of the newest version."""
    ready = sum(Pod(raw, snapshot).is_ready for raw in snapshot.pods)
    return is_updating(snapshot) or ready < sum(int(each["spec"].get("replicas", 1)) for each in snapshot.deployments)


def lacks_room(snapshot: Snapshot) -> bool:
    """Beside the old version there is no place for the new one, and nobody is making one."""
    if not is_updating(snapshot):
        return False
    refused = any(cause.reason in NO_ROOM for cause in of_replica_makers(snapshot))
    return refused or any(_has_no_place(Pod(raw, snapshot)) for raw in snapshot.pods)


def template_hash_of(pod: Object) -> str:
    """Which of its Deployment's versions it is one of; none if somebody else made it."""
    return str((pod["metadata"].get("labels") or {}).get(TEMPLATE_HASH, NO_VERSION))


def makes_room(snapshot: Snapshot) -> bool:
    """A replica is on its way out, and its place will be free; or it is, and the scheduler has not looked yet."""
    is_on_its_way = any(pod.is_leaving and not stuck(pod) for pod in (Pod(raw, snapshot) for raw in snapshot.pods))
    freed_at = snapshot.place_freed_at
    return is_on_its_way or bool(freed_at and is_near(freed_at, snapshot.now, TAKEN_WITHIN))


def place_is_taken_by(snapshot: Snapshot) -> datetime | None:
    return snapshot.place_freed_at + TAKEN_WITHIN if snapshot.place_freed_at else None


def _has_no_place(pod: Pod) -> bool:
    cause = no_place(pod) if pod.is_on_its_way else None
    is_promised = bool(pod.raw.get("status", {}).get("nominatedNodeName"))  # once others have gone
    return bool(cause and cause.reason in NO_ROOM and not is_promised)


def _has_old_pods(deployment: Object) -> bool:
    status = deployment.get("status", {})
    return int(status.get("replicas", 0)) > int(status.get("updatedReplicas", 0))
