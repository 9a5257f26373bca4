"""What the operator reports of an LLMDeployment, read from its status. Pure.

The status is of any version of the operator, so nothing in it is taken for granted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from slipway.objects.conditions import is_true
from slipway.objects.kinds import Object
from slipway.objects.times import parse_time

TROUBLED = ("Failed", "Degraded")
UNREPORTED = "Unreported"


class Evidence(StrEnum):
    """Where a value is from."""

    DECLARED = "declared"  # the spec says so
    REPORTED = "reported"  # the operator says so, in the status
    OBSERVED = "observed"  # another object of the cluster shows it
    COMPUTED = "computed"  # by this program, or as an estimate by the planner


@dataclass(frozen=True)
class State:
    """The status in the words of this program."""

    llm: Object

    @property
    def status(self) -> Mapping[str, Any]:
        found = self.llm.get("status")
        return found if isinstance(found, dict) else {}

    @property
    def name(self) -> str:
        return str(self.llm["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self.llm["metadata"].get("namespace") or "")

    @property
    def word(self) -> str:
        return str(self.status.get("state") or UNREPORTED)

    @property
    def message(self) -> str:
        if not self.status:
            return "The operator has reported nothing of it yet: is Slipway's operator running?"
        return str(self.status.get("message") or "")

    @property
    def is_current(self) -> bool:
        """The operator has seen the newest spec."""
        generation = self.llm["metadata"].get("generation")
        return generation is None or self.status.get("observedGeneration") == generation

    @property
    def is_well(self) -> bool:
        ready = self.condition("Ready")
        is_paused = ready.get("status") == "False" and self.word == "Idle"
        return self.word not in (*TROUBLED, UNREPORTED) and not is_paused and not self.is_stalled

    @property
    def is_stalled(self) -> bool:
        return self.condition("Stalled").get("status") == "True"

    def condition(self, kind: str) -> Mapping[str, Any]:
        found = (each for each in self.status.get("conditions") or [] if each.get("type") == kind)
        return next(found, {})

    def is_true(self, kind: str) -> bool:
        return self.condition(kind).get("status") == "True"

    @property
    def reason(self) -> str:
        """Of the problem, if there is one; else of Ready."""
        ready, stalled = self.condition("Ready"), self.condition("Stalled")
        if ready.get("status") == "False" or not self.is_stalled:
            moving = self.condition("Reconciling")
            if self.word == "Degraded" and ready.get("status") == "True" and moving.get("status") == "True":
                return str(moving.get("reason") or "")
            return str(ready.get("reason") or "")
        return str(stalled.get("reason") or "")

    @property
    def since(self) -> datetime | None:
        """When the condition that has the reason changed last."""
        kinds = ("Ready", "Stalled", "Reconciling")
        found = [each for each in map(self.condition, kinds) if each.get("reason") == self.reason]
        times = [parse_time(each.get("lastTransitionTime")) for each in found]
        return min((each for each in times if each), default=None)

    @property
    def ready(self) -> int:
        return int((self.status.get("replicas") or {}).get("ready") or 0)

    @property
    def is_reported(self) -> bool:
        """The operator has counted its replicas; otherwise there may be any number."""
        return bool(self.status.get("replicas"))

    @property
    def desired(self) -> int:
        return int((self.status.get("replicas") or {}).get("desired") or 0)

    @property
    def accelerator(self) -> str:
        """`2x h100-80gb`, as planned."""
        plan = self.status.get("plan") or {}
        name, count = plan.get("accelerator"), plan.get("gpusPerReplica") or 0
        return f"{count}x {name}" if name and count > 1 else str(name or "")

    @property
    def model(self) -> str:
        return str(((self.llm.get("spec") or {}).get("model") or {}).get("uri") or "")

    @property
    def per_hour(self) -> float | None:
        found = (self.status.get("cost") or {}).get("perHour")
        return float(found) if isinstance(found, int | float) else None


def is_ready(pod: Object) -> bool:
    return is_true(pod, "Ready")


def age_of(thing: Object, now: datetime) -> str:
    return age(parse_time(thing["metadata"].get("creationTimestamp")), now)


def age(since: datetime | None, now: datetime) -> str:
    """As kubectl writes it: 45s, 12m, 3h, 5d."""
    if since is None:
        return ""
    seconds = max(0, int((now - since).total_seconds()))
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "m"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds // size}{unit}"
    return f"{seconds // 86_400}d"
