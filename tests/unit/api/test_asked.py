"""Annotations by which people ask a model to wake and to sleep: which count, and what is said of the others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slipway.api.asked import FURTHEST, Asked, asked, is_late, is_recent, moment, objections, writes, written
from slipway.api.names import PAUSED_ANNOTATION, SLEEP_ANNOTATION, WAKE_ANNOTATION

NOW = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)
OF_MOMENTS = (WAKE_ANNOTATION, SLEEP_ANNOTATION)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-21T10:00:00Z",
        "2026-11-21t10:00:00z",
        "2026-11-21T10:00:00.000000000Z",
        "2026-11-21T11:00:00+01:00",
        "2026-11-21T04:30:00-05:30",
    ],
)
def test_a_moment_is_read_as_rfc_3339_writes_it(text: str) -> None:
    assert moment(text) == NOW


@pytest.mark.parametrize(
    "text",
    [
        "",
        "true",
        "now",
        "1763719200",
        "2026-11-21",
        "2026-11-21 10:00:00Z",
        "2026-11-21T10:00:00",
        "2026-11-21T10:00Z",
        "2026-11-21T25:00:00Z",
        "2026-02-30T10:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "٢٠٢٦-11-21T10:00:00Z",
        "2026-11-21T10:00:00Z\n",
    ],
)
def test_what_is_no_moment_counts_as_nothing_and_is_objected_to(text: str) -> None:
    for name in OF_MOMENTS:
        assert asked({name: text}) == Asked()
        [said] = objections({name: text}, NOW)
        assert said.startswith(f"{name}: {text!r} is not a time")
        assert said.endswith("write the current time, as `date -u +%FT%TZ` prints it.")


@given(st.text(max_size=40))
def test_whatever_is_written_there_is_a_moment_or_objected_to(text: str) -> None:
    assert (moment(text) is None) == bool(list(objections({WAKE_ANNOTATION: text}, NOW)))


def test_of_a_long_text_the_begin_is_shown() -> None:
    [said] = objections({WAKE_ANNOTATION: "x" * 4096}, NOW)
    assert len(said) < 200


def test_a_moment_far_ahead_is_objected_to() -> None:
    for name in OF_MOMENTS:
        near, far = (f"{ago(-seconds):%Y-%m-%dT%H:%M:%SZ}" for seconds in (FURTHEST, FURTHEST + 1))
        assert not list(objections({name: near}, NOW))
        [said] = objections({name: far}, NOW)
        assert f"{name}: {far} is more than 5 minutes ahead" in said
        assert "as `date -u +%FT%TZ` prints it; for future times, use scaling.schedule." in said


def test_a_clock_on_the_wall_that_is_ahead_of_utc_is_objected_to_wherever_it_hangs() -> None:
    """Vienna in winter, Kathmandu, and all others between Greenwich and the date line; written a little later."""
    for minutes in range(15, 15 * 60, 15):
        text = f"{ago(5 - 60 * minutes):%Y-%m-%dT%H:%M:%SZ}"
        assert list(objections({WAKE_ANNOTATION: text}, NOW))


@pytest.mark.parametrize("annotations", [{}, {PAUSED_ANNOTATION: "true"}, {PAUSED_ANNOTATION: "false"}])
def test_nothing_is_said_of_what_is_as_it_should_be(annotations: dict[str, str]) -> None:
    assert not list(objections(annotations, NOW))


def test_a_pause_that_is_none_is_objected_to() -> None:
    [said] = objections({PAUSED_ANNOTATION: "yes"}, NOW)
    assert said == f"{PAUSED_ANNOTATION}: 'yes' pauses nothing: write \"true\", or remove it."


@pytest.mark.parametrize(
    ("wake", "sleep", "woken", "sent_to_sleep"),
    [
        (None, None, None, None),
        (5, None, 5, None),
        (-5, None, None, None),
        (None, 5, None, 5),
        (None, -5, None, None),
        (5, 9, 5, None),
        (9, 5, None, 5),
        (5, 5, 5, None),
        (9, -5, 9, None),
        (-5, 9, None, 9),
    ],
)
def test_the_last_that_was_asked_counts(
    wake: float | None, sleep: float | None, woken: float | None, sent_to_sleep: float | None
) -> None:
    """All of them in seconds ago."""
    wake_at, sleep_at, woken_at, slept_at = (
        None if each is None else ago(each) for each in (wake, sleep, woken, sent_to_sleep)
    )
    found = Asked(wake_at, sleep_at)
    assert (found.woken(NOW), found.sent_to_sleep(NOW)) == (woken_at, slept_at)


def test_it_is_recent_from_its_moment_on_until_it_has_lasted_long_enough() -> None:
    assert [is_recent(ago(seconds), NOW, 60) for seconds in (-1, 0, 59, 60)] == [False, True, True, False]


def test_the_next_moment_is_the_first_that_is_to_come() -> None:
    assert Asked().next_moment(NOW, 60) is None
    assert Asked(ago(100), ago(90)).next_moment(NOW, 60) is None
    assert Asked(ago(30), ago(20)).next_moment(NOW, 60) == ago(-30)
    assert Asked(ago(-5), ago(20)).next_moment(NOW, 60) == ago(-5)
    assert Asked(ago(-3605), None).next_moment(NOW, -3600) == ago(-5)


# --- when they were written ------------------------------------------------------------------------------------------


def entry(seconds: float, *names: str, **more: Any) -> dict[str, Any]:
    """Of an object's managedFields: somebody wrote these annotations so many seconds ago."""
    annotations: dict[str, Any] = {".": {}, **{f"f:{name}": {} for name in names}}
    fields = {"f:metadata": {"f:annotations": annotations}, "f:spec": {"f:scaling": {}}}
    time = f"{ago(seconds):%Y-%m-%dT%H:%M:%SZ}"
    return {"manager": "kubectl-annotate", "operation": "Update", "time": time, "fieldsV1": fields, **more}


def test_when_one_was_written_the_last_that_has_it_tells() -> None:
    entries = [entry(60, WAKE_ANNOTATION), entry(30, WAKE_ANNOTATION, SLEEP_ANNOTATION), entry(10, "team"), {}]
    assert written(WAKE_ANNOTATION, entries) == written(SLEEP_ANNOTATION, entries) == ago(30)
    assert written(PAUSED_ANNOTATION, entries) is None


def test_of_who_wrote_what_only_these_are_kept() -> None:
    entries = [entry(60, "team"), entry(30, WAKE_ANNOTATION, "team"), {"manager": "x", "fieldsV1": {"f:spec": {}}}, {}]
    kept = writes(entries)
    assert written(WAKE_ANNOTATION, kept) == ago(30)
    assert "team" not in str(kept)
    assert writes([entry(60, "team")]) == []
    assert writes(kept) == kept


def test_however_many_have_written_it_only_the_last_is_kept() -> None:
    kept = writes([entry(seconds, WAKE_ANNOTATION) for seconds in range(1, 1000)])
    assert len(kept) == 1
    assert written(WAKE_ANNOTATION, kept) == ago(1)


@pytest.mark.parametrize("strange", [{"fieldsV1": None}, {"fieldsV1": {"f:metadata": []}}, {"time": None}, {"time": 5}])
def test_what_can_not_be_read_there_tells_nothing(strange: dict[str, Any]) -> None:
    entries = [entry(30, WAKE_ANNOTATION, **strange)]
    assert writes(entries) == []
    assert written(WAKE_ANNOTATION, entries) is None


def test_it_is_late_if_it_was_over_when_it_was_written() -> None:
    assert [is_late(ago(seconds), ago(0), 60) for seconds in (-1, 0, 59, 60)] == [False, False, False, True]
    assert not is_late(None, ago(0), 60)
    assert not is_late(ago(9999), None, 60)
