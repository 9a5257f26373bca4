"""Whether the HorizontalPodAutoscaler of a deployment can do its work, and what it lacks."""

from __future__ import annotations

from datetime import datetime, timedelta

from slipway.api.reasons import Reason
from slipway.objects.conditions import condition
from slipway.objects.kinds import Object
from slipway.objects.times import parse_time
from slipway.observing import words
from slipway.observing.cause import Cause
from slipway.observing.pods import Pod
from slipway.observing.snapshot import Snapshot

METRICS_COME_WITHIN = timedelta(minutes=2)
"""After a replica is ready, or metrics stopped: they are collected and looked at every 15 seconds, or less often."""

REMEDIES = {
    "FailedGetContainerResourceMetric": "metrics-server tells how busy containers are: see that it is installed",
    "FailedGetPodsMetric": "An adapter of Prometheus's metrics tells how many requests there are: see that it has them",
    "AmbiguousSelector": "Another HorizontalPodAutoscaler scales these pods: delete it",
}
AT_ZERO = "ScalingDisabled"


def cause_of_autoscaler(snapshot: Snapshot) -> Cause | None:
    since = silent_since(snapshot)
    found = _objection(snapshot.autoscaler)
    if not found or since is None or snapshot.now - since < METRICS_COME_WITHIN:
        return None
    told = words.shorten(found.get("message", "")).rstrip(".")
    remedy = REMEDIES.get(found.get("reason", ""), "")
    return Cause(Reason.METRICS_MISSING, f"{told}. {remedy}" if remedy else told, since)


def silent_since(snapshot: Snapshot) -> datetime | None:
    """Since when it could have known what to do, and didn't; None: it does, or there is nothing to know yet."""
    found = _objection(snapshot.autoscaler)
    ready = [pod.troubled_since for pod in (Pod(raw, snapshot) for raw in snapshot.pods) if pod.is_ready]
    began = min((each for each in ready if each), default=None)
    since = parse_time(found.get("lastTransitionTime")) if found else None
    return max(since, began) if since and began else None


def _objection(autoscaler: Object | None) -> Object | None:
    """Its condition that says what keeps it from scaling."""
    for kind in ("AbleToScale", "ScalingActive"):
        found = condition(autoscaler, kind) if autoscaler else None
        if found and found["status"] == "False" and found.get("reason") != AT_ZERO:
            return found
    return None
