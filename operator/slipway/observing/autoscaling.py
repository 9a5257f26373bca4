"""Whether the HorizontalPodAutoscaler of an LLMDeployment works, and what it lacks."""

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
"""After a replica became ready, or metrics stopped: they are collected every 15 seconds, or less often."""

REMEDIES = {
    "FailedGetContainerResourceMetric": "metrics-server provides the CPU usage: check that it is installed",
    "FailedGetPodsMetric": "An adapter for Prometheus metrics provides the requests in flight: check that it has them",
    "AmbiguousSelector": "Another HorizontalPodAutoscaler scales these pods: delete it",
}
AT_ZERO = "ScalingDisabled"


def cause_of_autoscaler(snapshot: Snapshot) -> Cause | None:
    since = silent_since(snapshot)
    found = _objection(snapshot.autoscaler)
    if not found or since is None or snapshot.now - since < METRICS_COME_WITHIN:
        return None
    message = words.shorten(found.get("message", "")).rstrip(".")
    remedy = REMEDIES.get(found.get("reason", ""), "")
    return Cause(Reason.METRICS_MISSING, f"{message}. {remedy}" if remedy else message, since)


def silent_since(snapshot: Snapshot) -> datetime | None:
    """Since when metrics are missing; None: they are there, or no replica is ready to provide any."""
    found = _objection(snapshot.autoscaler)
    ready = [pod.troubled_since for pod in (Pod(raw, snapshot) for raw in snapshot.pods) if pod.is_ready]
    began = min((each for each in ready if each), default=None)
    since = parse_time(found.get("lastTransitionTime")) if found else None
    return max(since, began) if since and began else None


def _objection(autoscaler: Object | None) -> Object | None:
    """Its condition that says what prevents it from scaling."""
    for kind in ("AbleToScale", "ScalingActive"):
        found = condition(autoscaler, kind) if autoscaler else None
        if found and found["status"] == "False" and found.get("reason") != AT_ZERO:
            return found
    return None
