"""What is needed of each pod of a model, extracted once for each version of the pod. Pure.

A tenant may create any number of pods for a model. Only a bounded number of them counts here, and few of those are read
completely, to find what keeps a replica from being ready.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import NamedTuple

from slipway.api import engine_notes
from slipway.api.engine_notes import A_PATH, USUAL, Exposition, NoteError
from slipway.contract.pod import RUNTIME_PORT
from slipway.objects.conditions import condition, is_true
from slipway.objects.kinds import Object
from slipway.objects.times import parse_time
from slipway.observing.keeping import MOST_PODS
from slipway.observing.pods import Pod
from slipway.observing.snapshot import Snapshot
from slipway.observing.versions import template_hash_of

CREATED = attrgetter("created")
MOST_SHOWN = 6  # of the oldest and of the newest of those in the same state


CONTAINER = "kserve-container"


class ReadinessProbe(NamedTuple):
    """The request by which the kubelet finds out whether a container is ready."""

    port: int
    path: str  # empty: that of our own runtime


RUNTIME_PROBE = ReadinessProbe(RUNTIME_PORT, "")
NOWHERE = Snapshot(now=datetime.min.replace(tzinfo=UTC))  # for what is in the pod alone


@dataclass(frozen=True, slots=True)
class PodSummary:
    """One pod."""

    name: str
    uid: str
    created: str  # as the API server writes it
    version: str
    address: str
    is_ready: bool
    is_coming: bool
    is_leaving: bool
    container: str  # the id of the one that runs, in a pod that may become ready; empty if there is none to poll
    start: float | None  # seconds
    probe: ReadinessProbe | None = RUNTIME_PROBE  # None: only the kubelet can probe it
    metrics: Exposition | None = USUAL  # None: its annotations about them can't be read
    scheduled: str = ""  # when, as the API server writes it; empty if it isn't yet

    @property
    def age(self) -> tuple[str, str]:
        """Greater: newer."""
        return self.created, self.name


def summary_of(pod: Object) -> PodSummary:
    metadata, seen = pod["metadata"], Pod(pod, NOWHERE)
    return PodSummary(
        name=str(metadata["name"]),
        uid=str(metadata["uid"]),
        created=str(metadata.get("creationTimestamp") or ""),
        version=template_hash_of(pod),
        address=_address(pod),
        is_ready=is_ready(pod),
        is_coming=seen.is_on_its_way,
        is_leaving=seen.is_leaving,
        container=starting_container(pod),
        start=start_of(pod),
        probe=probe_of(pod),
        metrics=metrics_of(pod),
        scheduled=_scheduled(pod),
    )


# --- of one pod -------------------------------------------------------------------------------------------------------


def is_ready(pod: Object) -> bool:
    return is_true(pod, "Ready") and "deletionTimestamp" not in pod["metadata"] and bool(_address(pod))


def starting_container(pod: Object) -> str:
    """The id of the container that runs in a pod which may become ready; empty if there is none to poll."""
    if is_ready(pod) or "deletionTimestamp" in pod["metadata"] or not _address(pod):
        return ""
    statuses = pod["status"].get("containerStatuses") or []
    return "".join(each.get("containerID", "") for each in statuses if "running" in each.get("state", {}))


def start_of(pod: Object) -> float | None:
    """Seconds from a pod's creation until it was ready; None if that was not its first time, or not yet."""
    statuses = pod.get("status", {}).get("containerStatuses") or []
    if not is_ready(pod) or any(each.get("restartCount") for each in statuses):
        return None
    created, ready = pod["metadata"]["creationTimestamp"], (condition(pod, "Ready") or {}).get("lastTransitionTime")
    started, ended = parse_time(created), parse_time(ready)
    return (ended - started).total_seconds() if started and ended else None


def probe_of(pod: Object) -> ReadinessProbe | None:
    containers = pod["spec"].get("containers") or []
    engine = next((each for each in containers if each.get("name") == CONTAINER), containers[0] if containers else {})
    if "readinessProbe" not in engine:
        return RUNTIME_PROBE
    probe = engine["readinessProbe"].get("httpGet")
    if not probe or not A_PATH.fullmatch(probe["path"]):
        return None
    return ReadinessProbe(probe["port"], probe["path"])


def metrics_of(pod: Object) -> Exposition | None:
    annotations = pod["metadata"].get("annotations")
    if not annotations:
        return USUAL
    try:
        return engine_notes.exposition(annotations)
    except NoteError:
        return None


# --- of all of them ---------------------------------------------------------------------------------------------------


def those_that_count(pods: Sequence[PodSummary], most: int = MOST_PODS) -> Sequence[PodSummary]:
    """The ready ones before others, and newer ones before older ones."""
    if len(pods) <= most:
        return pods
    ready, others = [pod for pod in pods if pod.is_ready], [pod for pod in pods if not pod.is_ready]
    newest = heapq.nlargest(min(most, len(ready)), ready, key=CREATED)
    return newest + heapq.nlargest(most - len(newest), others, key=CREATED)


def of_the_newest_version(pods: Sequence[PodSummary]) -> Sequence[PodSummary]:
    """The causes of a version that failed must not count for the one that replaces it."""
    staying = [pod for pod in pods if not pod.is_leaving]
    if not staying:
        return pods
    version = max(staying, key=lambda pod: pod.age).version
    return [pod for pod in pods if pod.version == version]


def those_worth_reading(pods: Sequence[PodSummary]) -> list[str]:
    """Their names: all, unless very many are in the same state."""
    pods = of_the_newest_version(pods)
    ready = [pod for pod in pods if pod.is_ready][:1]  # others would show nothing else
    coming = [pod for pod in pods if pod.is_coming]
    leaving = [pod for pod in pods if pod.is_leaving]
    others = [pod for pod in pods if not (pod.is_ready or pod.is_coming or pod.is_leaving)]
    return [pod.name for state in (ready, coming, leaving, others) for pod in _oldest_and_newest(state)]


def _oldest_and_newest(pods: list[PodSummary]) -> Iterable[PodSummary]:
    if len(pods) <= 2 * MOST_SHOWN:
        return pods
    in_order = sorted(pods, key=lambda pod: pod.age)
    return in_order[:MOST_SHOWN] + in_order[-MOST_SHOWN:]


def _scheduled(pod: Object) -> str:
    found = condition(pod, "PodScheduled") or {}
    return str(found.get("lastTransitionTime") or "") if found.get("status") == "True" else ""


def _address(pod: Object) -> str:
    return str(pod.get("status", {}).get("podIP") or "")
