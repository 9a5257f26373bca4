"""`spec.scaling`: how many replicas, when none, and what happens to requests meanwhile."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from slipway.api import units
from slipway.api.kubernetes import keyed
from slipway.api.schema import (
    LIST_TYPE,
    ApiModel,
    AsText,
    Auto,
    Rule,
    cel,
    duration_within,
    matches,
    quantity_within,
    rules,
    whole_number_or_auto,
)


def _cron_field(value: str) -> str:
    """One field of a cron expression: `*`, values and ranges, each with an optional step, separated by commas."""
    part = rf"([*?]|({value})(-({value}))?)(/[1-9][0-9]?)?"
    return rf"{part}(,{part})*"


_MONTHS = "[Jj][Aa][Nn]|[Ff][Ee][Bb]|[Mm][Aa][Rr]|[Aa][Pp][Rr]|[Mm][Aa][Yy]|[Jj][Uu][Nn]|[Jj][Uu][Ll]|[Aa][Uu][Gg]|"
_MONTHS += "[Ss][Ee][Pp]|[Oo][Cc][Tt]|[Nn][Oo][Vv]|[Dd][Ee][Cc]"
_DAYS = "[Ss][Uu][Nn]|[Mm][Oo][Nn]|[Tt][Uu][Ee]|[Ww][Ee][Dd]|[Tt][Hh][Uu]|[Ff][Rr][Ii]|[Ss][Aa][Tt]"
CRON = "^{}$".format(
    " +".join(
        _cron_field(value)
        for value in (
            "[0-5]?[0-9]",
            "[01]?[0-9]|2[0-3]",
            "0?[1-9]|[12][0-9]|3[01]",
            f"0?[1-9]|1[0-2]|{_MONTHS}",
            f"[0-6]|{_DAYS}",
        )
    )
)


class TargetSpec(ApiModel):
    """The load that one replica should carry: a number of requests, or the times that it must keep."""

    in_flight: Annotated[int | Auto, whole_number_or_auto(1, 4096)] | None = Field(
        default=None, description="Requests for each replica before another is added; Auto takes it from the plan."
    )
    ttft_p95: Annotated[str, duration_within("1ms", "10m")] | None = Field(
        default=None, description="Time to the first token that 95 of 100 requests must keep, such as 500ms."
    )
    tpot_p95: Annotated[str, duration_within("1ms", "1m")] | None = Field(
        default=None, description="Time for each further token that 95 of 100 requests must keep, such as 40ms."
    )

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="!(has(self.inFlight) && (has(self.ttftP95) || has(self.tpotP95)))",
            message="choose one kind of target: inFlight, or ttftP95 and tpotP95",
            why="FieldValueForbidden",
        ),
        Rule(
            rule="has(self.inFlight) || has(self.ttftP95) || has(self.tpotP95)",
            message="a target needs inFlight, ttftP95 or tpotP95: set one, or leave target out",
            why="FieldValueRequired",
        ),
    )


class ScheduleEntry(ApiModel):
    """A time for which more replicas are kept than otherwise."""

    cron: Annotated[
        str,
        matches(
            CRON,
            "must be a cron expression of five fields (minute, hour, day, month, weekday from 0 for Sunday to 6), such "
            "as '0 8 * * 1-5'",
            at_most=128,
        ),
    ] = Field(description="When it begins: minute, hour, day of the month, month, day of the week.")
    duration: Annotated[str, duration_within("1m", "168h")] = Field(description="How long it lasts, such as 10h.")
    min_replicas: int = Field(ge=1, le=1000, description="Replicas that are kept meanwhile, at least.")
    time_zone: Annotated[
        str,
        matches(
            r"^(UTC|[A-Z][A-Za-z_]+(/[A-Z][-A-Za-z0-9_+]+)+)$",
            "must be a time zone by its name, such as UTC or Europe/Vienna",
            at_most=64,
        ),
    ] = Field(default="UTC", description="Time zone of the cron expression, such as Europe/Vienna.")


_PART = r"[-A-Za-z0-9._~:@!$&'()+,;=]+"
WAKING_REQUEST = rf"^(GET|POST|PUT|PATCH|DELETE) (/|(/([*]|{_PART}))+)$"
WakingRequest = Annotated[
    str,
    matches(
        WAKING_REQUEST,
        "must be a method and a path, such as POST /v1/chat/completions or POST /v1/*: GET, POST, PUT, PATCH or "
        "DELETE, and a * only for a whole part between slashes",
        at_most=256,
    ),
]


class HoldSpec(ApiModel):
    """Requests that come while no replica is ready are held within these limits, and refused with 429 or 503 beyond."""

    max_requests: int = Field(default=256, ge=1, le=100_000, description="Most requests that are held at a time.")
    max_bytes: Annotated[str, AsText, quantity_within("4Ki", "16Gi", example="64Mi")] = Field(
        default="64Mi", description="Most memory that the held requests' bodies may take in all."
    )
    timeout: Annotated[str, duration_within("1s", "1h", or_auto=True)] = Field(
        default="Auto",
        description="Longest that one request is held; Auto takes what earlier starts took, with some to spare.",
    )
    heartbeat: Annotated[str, duration_within("1s", "5m", or_auto=True)] = Field(
        default="Auto",
        description="How often a held stream is told that it still waits, so that no proxy on the way gives up.",
    )

    wake_on: list[WakingRequest] | None = Field(
        default=None,
        max_length=32,
        description="Requests that wait for a replica and wake one, such as POST /v1/chat/completions; a * stands for "
        "one part between slashes, at the end for all that follows. By default all that the engine computes for, and "
        "of engines that aren't Slipway's every POST.",
        json_schema_extra={
            LIST_TYPE: "atomic",
            **rules(
                Rule(
                    rule="size(self) > 0",
                    message="an empty wakeOn would let nothing wake the model: name a request, or leave wakeOn out",
                )
            ),
        },
    )

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule=f"!self.heartbeat.matches({cel(units.DURATION)}) || !self.timeout.matches({cel(units.DURATION)}) || "
            "duration(self.heartbeat) < duration(self.timeout)",
            message="heartbeat must be shorter than timeout, or the request ends before the first one",
            at=".heartbeat",
        ),
    )


class ScalingSpec(ApiModel):
    """How many replicas there are."""

    min_replicas: int = Field(
        default=0, ge=0, le=1000, description="Replicas that are always kept; 0 lets the model sleep when nobody asks."
    )
    max_replicas: int = Field(default=1, ge=1, le=1000, description="Most replicas that load may ask for.")
    initial_replicas: int | None = Field(
        default=None,
        ge=0,
        le=1000,
        description="Replicas right after the object is created; by default minReplicas. Means nothing later, so it "
        "can't be changed.",
    )
    autoscaler: Literal["KEDA", "HPA", "None"] = Field(
        default="KEDA",
        description="Who sets the number of replicas: KEDA also scales to zero, HPA keeps at least one, None keeps "
        "minReplicas.",
    )
    idle_after: Annotated[str, duration_within("10s", "168h")] = Field(
        default="10m",
        description="How long nobody must have asked before the last replica goes, where minReplicas is 0.",
    )
    target: TargetSpec | None = Field(
        default=None, description="Load that one replica should carry; by default as many requests as the plan allows."
    )
    schedule: list[ScheduleEntry] = Field(
        default_factory=list,
        max_length=32,
        description="Times for which more replicas are kept, such as office hours.",
        json_schema_extra=keyed("cron", "timeZone"),
    )
    hold: HoldSpec = Field(
        default_factory=HoldSpec, description="Limits for requests that wait while no replica is ready."
    )

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="self.minReplicas <= self.maxReplicas",
            message="minReplicas must not be more than maxReplicas: raise maxReplicas, or lower minReplicas",
            at=".minReplicas",
        ),
        Rule(
            rule="self.autoscaler == 'KEDA' || self.minReplicas >= 1",
            message="only KEDA scales to zero: set minReplicas to 1 or more, or autoscaler to KEDA",
            at=".minReplicas",
        ),
        Rule(
            rule="!has(self.initialReplicas) || self.initialReplicas <= self.maxReplicas",
            message="initialReplicas must not be more than maxReplicas: lower it, or leave it out",
            at=".initialReplicas",
        ),
        Rule(
            rule="!has(self.initialReplicas) || (has(oldSelf.initialReplicas) && "
            "self.initialReplicas == oldSelf.initialReplicas)",
            message="initialReplicas only counts when the object is created, which is over: leave it as it is or "
            "out, and change minReplicas",
            at=".initialReplicas",
            why="FieldValueForbidden",
        ),
        Rule(
            rule="!has(self.schedule) || self.schedule.all(entry, entry.minReplicas <= self.maxReplicas)",
            message="a schedule's minReplicas must not be more than maxReplicas: raise maxReplicas, or lower the "
            "schedule's",
            at=".schedule",
        ),
    )
