"""What KEDA says of a ScaledObject by which it can't scale: its trigger doesn't answer, or its target can't be scaled.

One poll that fails makes a ScaledObject not ready, as when an activator has just started and doesn't know the
deployment yet, and the next one, five seconds later, makes it ready again: that is no outage, as in `platform`. KEDA
notes no time. Whoever reads the cluster remembers it, and what the status has told already counts as old.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

from slipway.api.reasons import Reason
from slipway.objects.conditions import condition, is_false
from slipway.objects.kinds import Object
from slipway.observing import words
from slipway.observing.cause import Cause
from slipway.observing.platform import LASTS_AFTER, PASSES_WITHIN, is_keda_s, wants_none
from slipway.observing.snapshot import Snapshot

UNANSWERED = re.compile(r"no metric specs returned from scalers|rpc error")
"""In KEDA's words, of a trigger that it couldn't even ask once. Later it says TriggerError, and not why."""


def causes_in(snapshot: Snapshot) -> Iterator[Cause]:
    """Why nobody would wake this deployment, which is at zero."""
    if wants_none(snapshot) and _fails_for(snapshot, PASSES_WITHIN):
        yield _cause(snapshot)


def doubt_in(snapshot: Snapshot) -> Cause | None:
    """Why the number of replicas, which is right now, couldn't change."""
    return _cause(snapshot) if _fails_for(snapshot, LASTS_AFTER) else None


def moments_in(snapshot: Snapshot) -> Iterator[datetime]:
    """When something else may be said, though nothing changes. Some of them have passed."""
    if since := snapshot.scaler_fails_since:
        yield from (since + PASSES_WITHIN, since + LASTS_AFTER)


def fails_since(
    scaled_object: Object | None, known: datetime | None, status: Object | None, now: datetime
) -> datetime | None:
    """`known`: what this gave the last time; `status`: of the deployment, by a leader of before, perhaps."""
    if not scaled_object or not is_false(scaled_object, "Ready"):
        return None
    return known or (now - LASTS_AFTER if _is_told(status or {}) else now)


def address_of(scaled_object: Object) -> str:
    """Where KEDA asks."""
    triggers = scaled_object.get("spec", {}).get("triggers") or [{}]
    return str((triggers[0].get("metadata") or {}).get("scalerAddress", ""))


def _fails_for(snapshot: Snapshot, patience: timedelta) -> bool:
    """Without its target, or on its way out, it has nothing to scale."""
    since, thing = snapshot.scaler_fails_since, snapshot.scaled_object
    if since is None or thing is None or not snapshot.deployments or thing["metadata"].get("deletionTimestamp"):
        return False
    return is_keda_s(snapshot) and snapshot.now - since >= patience


def _cause(snapshot: Snapshot) -> Cause:
    thing = snapshot.scaled_object or {}
    found = condition(thing, "Ready") or {}
    message = found.get("message") or found.get("reason", "")
    said = words.plain(message).rstrip(".")
    if found.get("reason") != "TriggerError" and not UNANSWERED.search(message):
        told = f"KEDA can't scale by ScaledObject {thing['metadata']['name']}: {said}"
    elif snapshot.scaler_is_there is False:
        told = f"KEDA can't ask the activator at {address_of(thing)}, of which no replica is ready: {said}"
    else:
        told = f"KEDA can't ask the activator at {address_of(thing)}, which a NetworkPolicy may keep from it: {said}"
    return Cause(Reason.SCALER_UNAVAILABLE, f"{told}; the log of KEDA's operator tells more")


def _is_told(status: Object) -> bool:
    """In a deployment's status."""
    return any(each.get("reason") == Reason.SCALER_UNAVAILABLE for each in status.get("conditions") or [])
