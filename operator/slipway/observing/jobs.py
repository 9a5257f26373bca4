"""The state of a Job of ours: it runs, it has reported, or it has failed. Pure.

A Job has one pod, and no second try of its own. What the pod reports is its termination message; why it doesn't start
is diagnosed as with a model's pods.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from slipway.api.reasons import Reason
from slipway.objects.conditions import condition
from slipway.objects.kinds import Object
from slipway.objects.metadata import created_at, name_of, owners_of, uid_of
from slipway.objects.times import parse_time
from slipway.observing import words
from slipway.observing.cause import Cause
from slipway.observing.pods import Pod, cause_of_pod
from slipway.observing.snapshot import ObservedEvent, SeenJobs, Snapshot

SOON = timedelta(seconds=15)  # after this time, a Job is late, and its events are worth a request
REPORTED_WITHIN = timedelta(seconds=60)  # watches of Jobs and of pods deliver in any order
REFUSED = (r"exceeded quota", Reason.QUOTA_EXCEEDED)


@dataclass(frozen=True)
class Running:
    """It works, or waits for a node, an image, a volume."""

    cause: Cause | None = None  # why it doesn't start


@dataclass(frozen=True)
class Failed:
    cause: Cause


def reports_of(job: Object, seen: SeenJobs, container: str) -> Iterator[str]:
    """What its pods have reported, if they have succeeded."""
    for pod in _pods_of(job, seen):
        for status in (pod.get("status") or {}).get("containerStatuses") or []:
            ended = (status.get("state") or {}).get("terminated") or {}
            if status.get("name") == container and ended.get("exitCode") == 0:
                yield str(ended.get("message") or "")


def without_report(job: Object, seen: SeenJobs, snapshot: Snapshot, longest: timedelta) -> Running | Failed:
    """`longest`: how long it may take."""
    pods = _pods_of(job, seen)
    cause = _cause(pods, replace(snapshot, nodes=None, events=seen.events))
    if cause and (cause.final or _end_of(job)):
        return Failed(cause)
    return _not_ended(job, pods, cause or _of_job(job, seen), snapshot.now, longest)


def newest_pod(job: Object, seen: SeenJobs) -> list[Object]:
    """Of the Job, if it has any: an evicted one is replaced."""
    return sorted(_pods_of(job, seen), key=lambda pod: str(pod["metadata"].get("creationTimestamp")))[-1:]


def age_of(job: Object, now: datetime) -> timedelta:
    since = created_at(job)
    return now - since if since else timedelta()


def failed(reason: Reason, message: str) -> Failed:
    return Failed(Cause(reason, message, final=reason.is_final))


def _pods_of(job: Object, seen: SeenJobs) -> list[Object]:
    return [pod for pod in seen.pods if any(each.get("uid") == uid_of(job) for each in owners_of(pod))]


def _cause(pods: list[Object], snapshot: Snapshot) -> Cause | None:
    """Of the newest pod: an evicted one is replaced."""
    in_order = sorted(pods, key=lambda pod: Pod(pod, snapshot).created or snapshot.now, reverse=True)
    return cause_of_pod(in_order[0], snapshot) if in_order else None


def _of_job(job: Object, seen: SeenJobs) -> Cause | None:
    """Why it has no pod, which only an event says."""
    events = [ObservedEvent(each) for each in seen.events if _is_about(each, job)]
    refused = next((each.message for each in events if each.reason == "FailedCreate"), "")
    if not refused:
        return None
    said = words.explain(refused, words.table(REFUSED))
    return Cause(said.reason if said else Reason.ADMISSION_DENIED, words.unwrapped(refused))


def _is_about(event: Object, job: Object) -> bool:
    return bool((event.get("involvedObject") or {}).get("uid") == uid_of(job))


def _not_ended(
    job: Object, pods: list[Object], cause: Cause | None, now: datetime, longest: timedelta
) -> Running | Failed:
    end = _end_of(job)
    ended_at = parse_time(end.get("lastTransitionTime"))
    if end and not pods and (ended_at is None or now - ended_at > REPORTED_WITHIN):
        return failed(Reason.UNKNOWN, f"its pod is gone: {words.shorten(end.get('message') or 'it was deleted')}")
    if age_of(job, now) <= longest:
        return Running(cause)
    if cause:
        return Failed(cause)
    return failed(Reason.START_TIMEOUT, f"Job {name_of(job)} has not finished within {longest.seconds // 60} minutes")


def _end_of(job: Object) -> Object:
    """The condition that says that it has ended; empty while it runs."""
    found = (condition(job, kind) or {} for kind in ("Failed", "Complete"))
    return next((each for each in found if each.get("status") == "True"), {})
