"""Which version of a model's pods is the newest, and whether the pods that are seen are of an older one. Pure.

KServe and Kubernetes take a moment to replace the pods after a change of the spec. Until then, what is wrong with the
pods is about the spec before, and is no reason why the present one fails.
"""

from __future__ import annotations

from datetime import timedelta

from slipway.api.reasons import Reason
from slipway.objects.kinds import Object
from slipway.objects.metadata import annotations_of, labels_of
from slipway.objects.times import is_near
from slipway.observing.snapshot import Snapshot

TEMPLATE_HASH, NO_VERSION = "pod-template-hash", ""
REVISION = "deployment.kubernetes.io/revision"
FOLLOWS_WITHIN = timedelta(seconds=10)
"""Beyond this, KServe doesn't replace the pods: the change may be none to their template."""
OF_NODES = frozenset({Reason.NODE_LOST, Reason.PREEMPTED, Reason.EVICTED, Reason.POD_STUCK})
"""What can happen to the pods of any version."""


def template_hash_of(thing: Object) -> str:
    """The version of its Deployment that a pod or a ReplicaSet belongs to; empty if it has no Deployment."""
    return labels_of(thing).get(TEMPLATE_HASH, NO_VERSION)


def revision_of(replica_set: Object) -> int:
    """0: it has none."""
    written = annotations_of(replica_set).get(REVISION, "")
    return int(written) if written.isdecimal() else 0


def newest_revision(snapshot: Snapshot) -> int:
    return max(map(revision_of, snapshot.replica_sets), default=0)


def is_awaited(snapshot: Snapshot) -> bool:
    """Whether other pods were requested a moment ago, and the Deployment has no version of them yet."""
    remade = snapshot.remade
    is_recent = remade is not None and is_near(remade.at, snapshot.now, FOLLOWS_WITHIN)
    return bool(is_recent and remade and newest_revision(snapshot) <= remade.revision)


def is_outdated(pod: Object, snapshot: Snapshot) -> bool:
    """Whether its Deployment has a newer version."""
    version, newest = template_hash_of(pod), max(snapshot.replica_sets, key=revision_of, default=None)
    return bool(version and newest and revision_of(newest) and template_hash_of(newest) != version)
