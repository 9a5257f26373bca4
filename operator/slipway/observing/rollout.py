"""How far the rollout of a new version is, and whether it needs a place that only the old one can free."""

from __future__ import annotations

from datetime import datetime, timedelta

from slipway.objects.kinds import Object
from slipway.objects.times import is_near
from slipway.observing.causes import NO_ROOM, of_replica_makers
from slipway.observing.pods import Pod, no_place, stuck
from slipway.observing.snapshot import Snapshot
from slipway.observing.versions import NO_VERSION, template_hash_of

TAKEN_WITHIN = timedelta(seconds=3)
"""After a place became free, the scheduler may take so long to retry a pod that it has just rejected."""


def is_updating(snapshot: Snapshot) -> bool:
    """Whether pods of an older version exist. Deployment and pods have separate watches: either may show it first."""
    staying = (pod.raw for pod in (Pod(raw, snapshot) for raw in snapshot.pods) if not (pod.is_leaving or pod.is_over))
    versions = {template_hash_of(raw) for raw in staying} - {NO_VERSION}
    return any(map(_has_old_pods, snapshot.deployments)) or len(versions) > 1


def has_missing(snapshot: Snapshot) -> bool:
    """Whether replicas are missing, or some are not of the newest version."""
    ready = sum(Pod(raw, snapshot).is_ready for raw in snapshot.pods)
    return is_updating(snapshot) or ready < sum(int(each["spec"].get("replicas", 1)) for each in snapshot.deployments)


def lacks_room(snapshot: Snapshot) -> bool:
    """Whether the new version has no place next to the old one, and none is being freed."""
    if not is_updating(snapshot):
        return False
    refused = any(cause.reason in NO_ROOM for cause in of_replica_makers(snapshot))
    return refused or any(_has_no_place(Pod(raw, snapshot)) for raw in snapshot.pods)


def is_ready_as_the_waiting(snapshot: Snapshot) -> bool:
    """Whether a pod is ready of a version of which another one has yet to start."""
    pods = [Pod(raw, snapshot) for raw in snapshot.pods]
    waiting = {template_hash_of(pod.raw) for pod in pods if pod.is_on_its_way}
    return any(pod.is_ready and template_hash_of(pod.raw) in waiting for pod in pods)


def has_stuck_pod(snapshot: Snapshot) -> bool:
    """Whether a pod doesn't end although it should have, as on a node that is lost."""
    leaving = (pod for pod in (Pod(raw, snapshot) for raw in snapshot.pods) if pod.is_leaving)
    return any(stuck(pod) and not pod.is_over for pod in leaving)


def makes_room(snapshot: Snapshot) -> bool:
    """Whether a replica is terminating, so that its place becomes free; or is, and the scheduler hasn't retried."""
    is_on_its_way = any(pod.is_leaving and not stuck(pod) for pod in (Pod(raw, snapshot) for raw in snapshot.pods))
    freed_at = snapshot.place_freed_at
    return is_on_its_way or bool(freed_at and is_near(freed_at, snapshot.now, TAKEN_WITHIN))


def place_is_taken_by(snapshot: Snapshot) -> datetime | None:
    return snapshot.place_freed_at + TAKEN_WITHIN if snapshot.place_freed_at else None


def _has_no_place(pod: Pod) -> bool:
    cause = no_place(pod) if pod.is_on_its_way else None
    is_promised = bool(pod.raw.get("status", {}).get("nominatedNodeName"))  # once other pods have gone
    return bool(cause and cause.reason in NO_ROOM and not is_promised)


def _has_old_pods(deployment: Object) -> bool:
    status = deployment.get("status", {})
    return int(status.get("replicas", 0)) > int(status.get("updatedReplicas", 0))
