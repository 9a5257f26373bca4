"""Why KEDA can't scale by a ScaledObject: its trigger doesn't respond, or its target can't be scaled.

A single failed poll makes a ScaledObject not ready, for example when an activator has just started and doesn't know the
LLMDeployment yet, and the next one, five seconds later, makes it ready again: that is no outage, as in `platform`. KEDA
records no time, so the operator remembers it; a failure that the status has reported already counts as old.
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
"""KEDA's messages about a trigger that it could never query. Later it reports TriggerError without a cause."""


def causes_in(snapshot: Snapshot) -> Iterator[Cause]:
    """Why this LLMDeployment, which is at zero, would not wake."""
    if wants_none(snapshot) and _fails_for(snapshot, PASSES_WITHIN):
        yield _cause(snapshot)


def doubt_in(snapshot: Snapshot) -> Cause | None:
    """Why the number of replicas, although correct now, couldn't change."""
    return _cause(snapshot) if _fails_for(snapshot, LASTS_AFTER) else None


def moments_in(snapshot: Snapshot) -> Iterator[datetime]:
    """When time alone may change the result; some of these moments have passed."""
    if since := snapshot.scaler_fails_since:
        yield from (since + PASSES_WITHIN, since + LASTS_AFTER)


def fails_since(
    scaled_object: Object | None, known: datetime | None, status: Object | None, now: datetime
) -> datetime | None:
    """`known`: the previous result; `status`: the LLMDeployment's, maybe written by a former leader."""
    if not scaled_object or not is_false(scaled_object, "Ready"):
        return None
    return known or (now - LASTS_AFTER if _is_reported(status or {}) else now)


def scaler_address(scaled_object: Object) -> str:
    """The address that KEDA queries."""
    triggers = scaled_object.get("spec", {}).get("triggers") or [{}]
    return str((triggers[0].get("metadata") or {}).get("scalerAddress", ""))


def _fails_for(snapshot: Snapshot, patience: timedelta) -> bool:
    """A ScaledObject without its target, or being deleted, has nothing to scale."""
    since, scaled = snapshot.scaler_fails_since, snapshot.scaled_object
    if since is None or scaled is None or not snapshot.deployments or scaled["metadata"].get("deletionTimestamp"):
        return False
    return is_keda_s(snapshot) and snapshot.now - since >= patience


def _cause(snapshot: Snapshot) -> Cause:
    scaled = snapshot.scaled_object or {}
    found = condition(scaled, "Ready") or {}
    message = found.get("message") or found.get("reason", "")
    said = words.unwrapped(message).rstrip(".")
    if found.get("reason") != "TriggerError" and not UNANSWERED.search(message):
        explanation = f"KEDA can't scale with ScaledObject {scaled['metadata']['name']}: {said}"
    elif snapshot.scaler_is_there is False:
        explanation = f"KEDA can't reach the activator at {scaler_address(scaled)}, which has no ready replica: {said}"
    else:
        explanation = (
            f"KEDA can't reach the activator at {scaler_address(scaled)}, which a NetworkPolicy may block: {said}"
        )
    return Cause(Reason.SCALER_UNAVAILABLE, f"{explanation}; see the log of KEDA's operator")


def _is_reported(status: Object) -> bool:
    """Whether the status already reports it."""
    return any(each.get("reason") == Reason.SCALER_UNAVAILABLE for each in status.get("conditions") or [])
