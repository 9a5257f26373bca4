"""What has ended in the pods of a model although it should run, each with its cause: what is counted of them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from slipway.api.reasons import Reason
from slipway.objects.metadata import uid_of
from slipway.objects.times import parse_time
from slipway.observing.cause import Cause
from slipway.observing.containers import Container, could_not_start, crashed, killed_by_a_probe, out_of_memory
from slipway.observing.pods import Pod, evicted, node_lost, refused_by_kubelet
from slipway.observing.snapshot import Snapshot

OF_PODS: tuple[Callable[[Pod], Cause | None], ...] = (evicted, refused_by_kubelet, node_lost)
OF_CONTAINERS: tuple[Callable[[Container, datetime], Cause | None], ...] = (
    could_not_start,
    out_of_memory,
    killed_by_a_probe,
    crashed,
)


class Failure(NamedTuple):
    """The last end of one container, or the end of its pod."""

    pod: str  # its uid
    container: str  # empty: the pod itself
    end: str  # two ends of the same container never have the same
    reason: Reason
    at: datetime | None


def failures_in(snapshot: Snapshot) -> Iterator[Failure]:
    """A pod that is deleted ends its containers, which is no failure of theirs."""
    for raw in snapshot.pods:
        pod = Pod(raw, snapshot)
        if found := next((cause for cause in (of_pod(pod) for of_pod in OF_PODS) if cause), None):
            yield Failure(uid_of(raw), "", found.reason, found.reason, found.since)
        elif not pod.is_leaving:
            for container in pod.containers():
                if failure := _failure_of(uid_of(raw), container, snapshot.now):
                    yield failure


def _failure_of(pod: str, container: Container, now: datetime) -> Failure | None:
    """Its last end counts even if it has been ready since."""
    container = replace(container, since=None)
    end = container.last_end
    if not end or (container.is_init and end.get("exitCode") == 0):
        return None
    found = next((cause for cause in (of_end(container, now) for of_end in OF_CONTAINERS) if cause), None)
    which = str(end.get("containerID") or end.get("finishedAt"))
    name = str(container.spec["name"])
    return Failure(pod, name, which, found.reason, parse_time(end.get("finishedAt"))) if found else None
