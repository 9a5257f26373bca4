"""`spec.scaling`: the number of replicas, when there is none, and what happens to requests meanwhile; and what the
status says of it."""

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
    ReportModel,
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
    """The target load of one replica: a number of requests, or latencies."""

    in_flight: Annotated[int | Auto, whole_number_or_auto(1, 4096)] | None = Field(
        default=None,
        description="Requests in flight per replica, above which another replica is added; Auto uses the plan's "
        "number.",
    )
    ttft_p95: Annotated[str, duration_within("1ms", "10m")] | None = Field(
        default=None,
        description="Target time to first token (TTFT), 95th percentile, such as 500ms; with KEDA, "
        "replicas follow it from 5ms to 5m.",
    )
    tpot_p95: Annotated[str, duration_within("1ms", "1m")] | None = Field(
        default=None,
        description="Target time per output token (TPOT), 95th percentile, such as 40ms; with KEDA, "
        "replicas follow it from 1ms to 4s.",
    )

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="!(has(self.inFlight) && (has(self.ttftP95) || has(self.tpotP95)))",
            message="a target is either a number of requests or latencies: set inFlight, or ttftP95 and tpotP95",
            why="FieldValueForbidden",
        ),
        Rule(
            rule="has(self.inFlight) || has(self.ttftP95) || has(self.tpotP95)",
            message="a target needs inFlight, ttftP95 or tpotP95: set one, or remove target",
            why="FieldValueRequired",
        ),
    )


class ScheduleEntry(ApiModel):
    """A recurring time window with a higher minimum number of replicas."""

    cron: Annotated[
        str,
        matches(
            CRON,
            "must be a cron expression of five fields (minute, hour, day, month, weekday from 0 for Sunday to 6), such "
            "as '0 8 * * 1-5'",
            at_most=128,
        ),
    ] = Field(description="Start of the window: minute, hour, day of the month, month, day of the week.")
    duration: Annotated[str, duration_within("1m", "168h")] = Field(description="Length of the window, such as 10h.")
    min_replicas: int = Field(ge=1, le=1000, description="Minimum number of replicas during the window.")
    time_zone: Annotated[
        str,
        matches(
            r"^(UTC|[A-Z][A-Za-z_]+(/[A-Z][-A-Za-z0-9_+]+)+)$",
            "must be the name of a time zone, such as UTC or Europe/Vienna",
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
        "DELETE, and a * only for a complete path segment",
        at_most=256,
    ),
]


class HoldSpec(ApiModel):
    """Limits for requests that are held while no replica is ready; further requests are refused with 429 or 503."""

    max_requests: int = Field(
        default=256, ge=1, le=100_000, description="Maximum number of requests that are held at a time."
    )
    max_bytes: Annotated[str, AsText, quantity_within("4Ki", "16Gi", example="64Mi")] = Field(
        default="64Mi", description="Maximum memory for the bodies of all held requests together."
    )
    timeout: Annotated[str, duration_within("1s", "1h", or_auto=True)] = Field(
        default="Auto",
        description="Maximum time that a request is held; Auto computes it from the duration of earlier starts, with a "
        "margin, and before the first one from the plan's limit of a start.",
    )
    heartbeat: Annotated[str, duration_within("1s", "5m", or_auto=True)] = Field(
        default="Auto",
        description="Interval of the heartbeats in a held stream, which keep proxies on the way from timing out.",
    )

    wake_on: list[WakingRequest] | None = Field(
        default=None,
        max_length=32,
        description="Requests that wake the model and wait for a replica, such as POST /v1/chat/completions. A * "
        "matches one path segment; at the end, it matches all that follow. By default all requests that the engine "
        "computes for; for engines that aren't Slipway's, every POST.",
        json_schema_extra={
            LIST_TYPE: "atomic",
            **rules(
                Rule(
                    rule="size(self) > 0",
                    message="with an empty wakeOn, no request would wake the model: add a request, or remove wakeOn",
                )
            ),
        },
    )

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule=f"!self.heartbeat.matches({cel(units.DURATION)}) || !self.timeout.matches({cel(units.DURATION)}) || "
            "duration(self.heartbeat) < duration(self.timeout)",
            message="heartbeat must be shorter than timeout, or the request ends before the first heartbeat",
            at=".heartbeat",
        ),
    )


class ScalingSpec(ApiModel):
    """The number of replicas, and what changes it."""

    min_replicas: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="Minimum number of replicas; with 0, the model sleeps while it has no requests.",
    )
    max_replicas: int = Field(default=1, ge=1, le=1000, description="Maximum number of replicas.")
    initial_replicas: int | None = Field(
        default=None,
        ge=0,
        le=1000,
        description="Number of replicas when the object is created; by default minReplicas. It has no effect later, so "
        "it can't be changed.",
    )
    autoscaler: Literal["KEDA", "HPA", "None"] = Field(
        default="KEDA",
        description="The autoscaler, which sets the number of replicas: KEDA also scales to zero, HPA keeps at least "
        "one replica, None keeps minReplicas.",
    )
    idle_after: Annotated[str, duration_within("10s", "168h")] = Field(
        default="10m",
        description="Time without requests after which the last replica is removed, if minReplicas is 0.",
    )
    target: TargetSpec | None = Field(
        default=None, description="Target load of one replica; by default the plan's number of concurrent requests."
    )
    schedule: list[ScheduleEntry] = Field(
        default_factory=list,
        max_length=32,
        description="Time windows with a higher minimum number of replicas, such as office hours.",
        json_schema_extra=keyed("cron", "timeZone"),
    )
    hold: HoldSpec = Field(
        default_factory=HoldSpec, description="Limits for requests that are held while no replica is ready."
    )

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="self.minReplicas <= self.maxReplicas",
            message="minReplicas must not be greater than maxReplicas: raise maxReplicas, or lower minReplicas",
            at=".minReplicas",
        ),
        Rule(
            rule="self.autoscaler == 'KEDA' || self.minReplicas >= 1",
            message="only KEDA scales to zero: set minReplicas to 1 or more, or autoscaler to KEDA",
            at=".minReplicas",
        ),
        Rule(
            rule="!has(self.initialReplicas) || self.initialReplicas <= self.maxReplicas",
            message="initialReplicas must not be greater than maxReplicas: lower it, or remove it",
            at=".initialReplicas",
        ),
        Rule(
            rule="!has(self.initialReplicas) || (has(oldSelf.initialReplicas) && "
            "self.initialReplicas == oldSelf.initialReplicas)",
            message="initialReplicas only has an effect when the object is created: leave it unchanged or remove it, "
            "and change minReplicas",
            at=".initialReplicas",
            why="FieldValueForbidden",
        ),
        Rule(
            rule="!has(self.schedule) || self.schedule.all(entry, entry.minReplicas <= self.maxReplicas)",
            message="a schedule's minReplicas must not be greater than maxReplicas: raise maxReplicas, or lower the "
            "schedule's",
            at=".schedule",
        ),
    )


class ScaledStatus(ReportModel):
    """The last change of a number of replicas that follows times, and what was measured then."""

    at: str = Field(default="", max_length=32, description="Time of the change.")
    before: int = Field(default=0, ge=0, description="Number of replicas before it.")
    after: int = Field(default=0, ge=0, description="Number of replicas after it.")
    time: str = Field(
        default="",
        max_length=16,
        description="The time that was highest compared with its target: ttftP95 or tpotP95. Empty: none was measured.",
    )
    measured: str = Field(default="", max_length=16, description="Its value then, of all replicas.")
    target: str = Field(default="", max_length=16, description="Its target in scaling.target.")
