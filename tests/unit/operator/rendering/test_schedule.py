"""Which minimum of replicas holds at a time, and until when: with time zones, and when clocks change."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from slipway.api.scaling import ScalingSpec
from slipway.operator.rendering.desired import UnrenderableError
from slipway.operator.rendering.schedule import kept_now

OFFICE = {"cron": "0 8 * * 1-5", "duration": "10h", "minReplicas": 2, "timeZone": "Europe/Vienna"}
NIGHT = {"cron": "0 22 * * *", "duration": "8h", "minReplicas": 1, "timeZone": "Europe/Vienna"}
SKIPPED = {"cron": "30 2 * * *", "duration": "1h", "minReplicas": 1, "timeZone": "Europe/Vienna"}
ALWAYS = {"cron": "* * * * *", "duration": "168h", "minReplicas": 1}
LEAP = {"cron": "0 0 29 2 *", "duration": "24h", "minReplicas": 1}
NEW_YORK = {"cron": "0 9 * * MON", "duration": "90s", "minReplicas": 3, "timeZone": "America/New_York"}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def scaling(*schedule: dict[str, Any], **spec: Any) -> ScalingSpec:
    return ScalingSpec.model_validate({"maxReplicas": 9, "schedule": list(schedule), **spec})


# Vienna is one hour ahead of UTC in winter, and two in summer.
TABLE: list[tuple[str, dict[str, Any], str, int, str]] = [
    ("before it starts", OFFICE, "2026-11-20 06:59:59", 0, "2026-11-20 07:00"),
    ("as it starts", OFFICE, "2026-11-20 07:00:00", 2, "2026-11-20 17:00"),
    ("in the middle", OFFICE, "2026-11-20 12:34:56", 2, "2026-11-20 17:00"),
    ("just before it ends", OFFICE, "2026-11-20 16:59:59", 2, "2026-11-20 17:00"),
    ("as it ends, on a Friday", OFFICE, "2026-11-20 17:00:00", 0, "2026-11-23 07:00"),
    ("in summer an hour earlier", OFFICE, "2026-07-01 06:00:00", 2, "2026-07-01 16:00"),
    ("over midnight", NIGHT, "2026-11-21 03:00:00", 1, "2026-11-21 05:00"),
    ("in the night of 23 hours", NIGHT, "2026-03-29 04:30:00", 1, "2026-03-29 05:00"),
    ("in the night of 25 hours", NIGHT, "2026-10-25 03:59:00", 1, "2026-10-25 04:00"),
    ("in an hour that is skipped: after it", SKIPPED, "2026-03-29 01:00:00", 1, "2026-03-29 02:00"),
    ("in an hour that occurs twice: the first time", SKIPPED, "2026-10-25 00:30:00", 1, "2026-10-25 01:30"),
    ("in an hour that occurs twice: not the second time", SKIPPED, "2026-10-25 01:30:00", 0, "2026-10-26 01:30"),
    ("overlapping occurrences, it never ends", ALWAYS, "2026-11-20 12:00:30", 1, "2026-11-27 12:00"),
    ("once in four years", LEAP, "2026-11-20 12:00:00", 0, "2028-02-29 00:00"),
    ("for seconds", NEW_YORK, "2026-11-23 14:01:29", 3, "2026-11-23 14:01:30"),
]


@pytest.mark.parametrize(
    ("entry", "now", "replicas", "until"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_one_entry_sets_the_minimum(entry: dict[str, Any], now: str, replicas: int, until: str) -> None:
    found = kept_now(scaling(entry), at(now))
    assert (found.replicas, found.until) == (replicas, at(until))


def test_without_a_schedule_the_minimum_holds_for_ever() -> None:
    found = kept_now(scaling(minReplicas=1), at("2026-11-20 12:00"))
    assert (found.replicas, found.entry, found.until) == (1, None, None)


def test_where_entries_overlap_the_highest_minimum_holds_until_the_next_boundary() -> None:
    found = kept_now(scaling(OFFICE, ALWAYS), at("2026-11-20 12:00"))
    assert (found.replicas, found.until) == (2, at("2026-11-20 17:00"))


def test_an_entry_below_the_minimum_does_not_lower_it() -> None:
    found = kept_now(scaling(OFFICE, minReplicas=3), at("2026-11-20 12:00"))
    assert (found.replicas, found.entry) == (3, None)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({**OFFICE, "timeZone": "Europe/Wien"}, "there is no time zone Europe/Wien: name one of the IANA database"),
        ({**OFFICE, "cron": "0 0 31 2 *"}, "the cron expression '0 0 31 2 *' never occurs"),
    ],
)
def test_an_entry_that_never_starts_is_refused_in_a_sentence(entry: dict[str, Any], words: str) -> None:
    with pytest.raises(UnrenderableError) as refused:
        kept_now(scaling(entry), at("2026-11-20 12:00"))
    assert words in refused.value.answer.message
