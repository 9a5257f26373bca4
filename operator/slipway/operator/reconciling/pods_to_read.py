"""Which pods of a model a reconcile reads, of the many that a tenant may have: by a brief of each.

Nothing removes pods that have ended until the cluster has thousands of them, and a reconcile that reads a thousand
keeps all others waiting for a tenth of a second. So of these, only the newest are read: what the others have cost is in
the ledger.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from slipway.api.model_key import ModelKey
from slipway.kube.store import Store
from slipway.objects.conditions import is_true
from slipway.objects.kinds import POD, Object
from slipway.objects.metadata import name_of
from slipway.observing.keeping import MOST_PODS
from slipway.observing.pods import ENDED

MOST_ENDED = 100  # that are read, of each model


class BriefOfPod(NamedTuple):
    """Of more pods than are read, those with the greatest are."""

    runs: bool  # or may still run
    is_ready: bool
    created: str


def brief_of_pod(pod: Object) -> BriefOfPod:
    return BriefOfPod(not has_ended(pod), is_true(pod, "Ready"), str(pod["metadata"].get("creationTimestamp")))


def has_ended(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ENDED


def pods_to_read(store: Store, key: ModelKey) -> tuple[Object, ...]:
    """By name."""
    pods = partial(store.labelled, POD, key.name, key.namespace)
    running, ended = pods(most=MOST_PODS, where=_runs), pods(most=MOST_ENDED, where=lambda known: not _runs(known))
    return tuple(sorted((*running, *ended), key=name_of))


def is_ready(store: Store, name: str, namespace: str) -> bool:
    known: BriefOfPod | None = store.brief(POD, name, namespace)
    return bool(known and known.is_ready)


def _runs(known: BriefOfPod | None) -> bool:
    return bool(known and known.runs)
