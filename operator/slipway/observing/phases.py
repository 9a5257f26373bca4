"""How long the phases of a replica's start took, as far as the cluster shows them, and the current one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from slipway.api import units
from slipway.api.reasons import Reason
from slipway.objects.conditions import is_true, true_since
from slipway.objects.times import parse_time
from slipway.observing.pods import Pod

NOT_PHASES = frozenset({"pod", "compiled"})  # of `status.lastColdStart`
LONGEST = 7 * 86_400.0  # seconds of a start; longer ones are invalid


@dataclass(frozen=True)
class Phases:
    """The moments of one start; None: not reached, or not recorded."""

    created: datetime | None
    scheduled: datetime | None
    pulled: datetime | None
    started: datetime | None
    ready: datetime | None

    def durations(self) -> dict[str, str]:
        """The time of each phase since the last known one before it, under its name in the status."""
        found: dict[str, str] = {}
        before = self.created
        names = {"schedule": self.scheduled, "pull": self.pulled, "start": self.started, "ready": self.ready}
        for name, moment in names.items():
            if before and moment:
                found[name] = f"{max(0, round((moment - before).total_seconds()))}s"
            before = moment or before
        return found


def length_of(durations: Mapping[str, str]) -> float | None:
    """The seconds of all phases in a status; None if they are invalid or impossibly long."""
    try:
        length = sum(units.seconds(each) for name, each in durations.items() if name not in NOT_PHASES)
    except (TypeError, ValueError):
        return None
    return length if length <= LONGEST else None


def phases_of(pod: Pod) -> Phases:
    scheduled, ready = (true_since(pod.raw, each) for each in ("PodScheduled", "Ready"))
    return Phases(pod.created, scheduled, _pulled(pod), _started(pod), ready)


def step_of(pod: Pod) -> Reason:
    """The current step of a pod that isn't ready yet."""
    containers = list(pod.containers())
    inits = [each for each in containers if each.is_init and not each.is_well]
    if not is_true(pod.raw, "PodScheduled"):
        return Reason.SCHEDULING
    if any(each.running for each in inits):
        return Reason.FETCHING_MODEL
    if any(each.running for each in containers):
        return Reason.LOADING_MODEL
    return Reason.PULLING_IMAGE if _is_pulling(pod) else Reason.STARTING


def _pulled(pod: Pod) -> datetime | None:
    """When the last of its images was on the node, by the kubelet's events, which report cached images, too."""
    moments = [event.last_seen for event in pod.events() if event.reason == "Pulled"]
    return max((moment for moment in moments if moment), default=None)


def _started(pod: Pod) -> datetime | None:
    """When the last of its containers started."""
    moments = [parse_time(each.running.get("startedAt")) for each in pod.containers() if each.running]
    return max((moment for moment in moments if moment), default=None)


def _is_pulling(pod: Pod) -> bool:
    newest = next((event.reason for event in pod.events() if event.reason in ("Pulling", "Pulled")), "")
    return newest == "Pulling"
