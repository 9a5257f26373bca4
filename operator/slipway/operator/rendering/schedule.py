"""How many replicas the schedule keeps at this moment, and when that may change.

The cron expression of an entry gives the start by the clocks of its time zone; the duration is elapsed time. So an
entry that starts at 22:00 and lasts 8 hours ends at 05:00 or at 07:00 in the nights in which clocks change. A start in
an hour that is skipped happens after it, and a start in an hour that is repeated happens once, as with cron.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from slipway.api import units
from slipway.api.scaling import ScalingSpec, ScheduleEntry
from slipway.observing.budget import Budget
from slipway.operator.rendering.desired import UnrenderableError

LOOK_BACK = (timedelta(hours=1), timedelta(days=1))
"""Tried first: the last start of an entry that starts every minute is found without iterating over a week."""


@dataclass(frozen=True)
class Kept:
    """The minimum number of replicas at one moment."""

    replicas: int
    entry: ScheduleEntry | None = None  # the entry that is active; None: minReplicas holds
    until: datetime | None = None  # the number may differ from then on


def kept_now(spec: ScalingSpec, now: datetime) -> Kept:
    """Of overlapping entries, the one with the most replicas holds. Raises UnrenderableError for impossible ones."""
    spans = [(entry, *_span(entry, now)) for entry in spec.schedule]
    until = min((boundary for _, _, boundary in spans if boundary), default=None)
    running = [entry for entry, is_on, _ in spans if is_on and entry.min_replicas > spec.min_replicas]
    most = max(running, key=lambda entry: entry.min_replicas, default=None)
    return Kept(most.min_replicas if most else spec.min_replicas, most, until)


def kept_within(budget: Budget | None, kept: Kept) -> Kept:
    """None is kept once the budget is spent, unless that is only reported."""
    return Kept(0, until=kept.until) if budget and budget.keeps_asleep else kept


def _span(entry: ScheduleEntry, now: datetime) -> tuple[bool, datetime | None]:
    """Whether the entry is active, and when it ends, or starts next."""
    duration = timedelta(seconds=units.seconds(entry.duration))
    for back in (*(each for each in LOOK_BACK if each < duration), duration):
        started = list(_starts(entry, now - back, until=now))
        if started:
            return True, started[-1] + duration
    return False, next(_starts(entry, now), None)


def _starts(entry: ScheduleEntry, after: datetime, *, until: datetime | None = None) -> Iterator[datetime]:
    """In UTC, because subtracting two local times ignores changes of the clocks between them."""
    for start in _cron(entry, after):
        at = start.astimezone(UTC)
        if until and at > until:
            return
        yield at


def _cron(entry: ScheduleEntry, after: datetime) -> CronSim:
    try:
        return CronSim(entry.cron.replace("?", "*"), after.astimezone(ZoneInfo(entry.time_zone)))
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise UnrenderableError(
            f"scaling.schedule: there is no time zone {entry.time_zone}: name one of the IANA database, such as "
            "Europe/Vienna."
        ) from error
    except CronSimError as error:
        raise UnrenderableError(
            f"scaling.schedule: the cron expression '{entry.cron}' never occurs ({error}): correct it."
        ) from error
