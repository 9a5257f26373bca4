"""How many replicas the schedule keeps at this moment, and when that may change.

A cron expression says when a time begins, on the clocks of its time zone; its duration is time that passes. So what
begins at 22:00 and lasts 8 hours ends at 05:00 or at 07:00 in the nights in which clocks change. What should begin in
an hour that is left out begins after it, and what should begin in one that comes twice begins once, as with cron.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from slipway.api import units
from slipway.api.llmdeployment import ScalingSpec
from slipway.api.scaling import ScheduleEntry
from slipway.operator.rendering.desired import Refusal

LOOK_BACK = (timedelta(hours=1), timedelta(days=1))
"""First there: what begins each minute is found at once, and nothing is counted through a whole week in vain."""


@dataclass(frozen=True)
class Kept:
    """Replicas, at least."""

    replicas: int
    entry: ScheduleEntry | None = None  # whose time it is; None: minReplicas holds
    until: datetime | None = None  # it may be another number from then on


def kept_now(spec: ScalingSpec, now: datetime | None) -> Kept:
    """Where several times overlap, the one with the most replicas holds. Raises Refusal for what never comes."""
    if now is None:
        return Kept(spec.min_replicas)
    spans = [(entry, *_span(entry, now)) for entry in spec.schedule]
    until = min((boundary for _, _, boundary in spans if boundary), default=None)
    running = [entry for entry, is_on, _ in spans if is_on and entry.min_replicas > spec.min_replicas]
    most = max(running, key=lambda entry: entry.min_replicas, default=None)
    return Kept(most.min_replicas if most else spec.min_replicas, most, until)


def _span(entry: ScheduleEntry, now: datetime) -> tuple[bool, datetime | None]:
    """Whether its time has begun and not ended, and when it ends, or begins."""
    duration = timedelta(seconds=units.seconds(entry.duration))
    for back in (*(each for each in LOOK_BACK if each < duration), duration):
        begun = list(_starts(entry, now - back, until=now))
        if begun:
            return True, begun[-1] + duration
    return False, next(_starts(entry, now), None)


def _starts(entry: ScheduleEntry, after: datetime, *, until: datetime | None = None) -> Iterator[datetime]:
    """In UTC, because the difference of two times of one zone leaves out what clocks did in between."""
    for start in _cron(entry, after):
        at = start.astimezone(UTC)
        if until and at > until:
            return
        yield at


def _cron(entry: ScheduleEntry, after: datetime) -> CronSim:
    try:
        return CronSim(entry.cron.replace("?", "*"), after.astimezone(ZoneInfo(entry.time_zone)))
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise Refusal(
            f"scaling.schedule: there is no time zone {entry.time_zone}: name one of the IANA database, such as "
            "Europe/Vienna."
        ) from error
    except CronSimError as error:
        raise Refusal(
            f"scaling.schedule: the cron expression '{entry.cron}' never comes ({error}): correct it."
        ) from error
