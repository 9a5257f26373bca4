"""The annotations that wake a model or send it to sleep: which count, and which get an objection."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slipway.api.asked import FURTHEST, Asked, asked, is_late, is_recent, moment, objections, writes, written
from slipway.api.names import PAUSED_ANNOTATION, RESTART_ANNOTATION, SLEEP_ANNOTATION, WAKE_ANNOTATION

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
def test_a_timestamp_is_read_in_any_form_of_rfc_3339(text: str) -> None:
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
def test_an_invalid_timestamp_has_no_effect_and_gets_an_objection(text: str) -> None:
    for name in OF_MOMENTS:
        assert asked({name: text}) == Asked()
        [objection] = objections({name: text}, NOW)
        assert objection.startswith(f"{name}: {text!r} is not a time")
        assert objection.endswith("write the current time, as `date -u +%FT%TZ` prints it.")


@given(st.text(max_size=40))
def test_every_text_is_a_valid_timestamp_or_gets_an_objection(text: str) -> None:
    assert (moment(text) is None) == bool(list(objections({WAKE_ANNOTATION: text}, NOW)))


def test_a_restart_needs_a_time_too_which_may_be_in_the_future() -> None:
    [objection] = objections({RESTART_ANNOTATION: "now"}, NOW)
    assert objection.startswith(f"{RESTART_ANNOTATION}: 'now' is not a time")
    assert not list(objections({RESTART_ANNOTATION: "2030-01-01T00:00:00Z"}, NOW))


def test_an_objection_quotes_only_the_start_of_a_long_text() -> None:
    [objection] = objections({WAKE_ANNOTATION: "x" * 4096}, NOW)
    assert len(objection) < 200


def test_a_timestamp_far_in_the_future_gets_an_objection() -> None:
    for name in OF_MOMENTS:
        near, timestamp = (f"{ago(-seconds):%Y-%m-%dT%H:%M:%SZ}" for seconds in (FURTHEST, FURTHEST + 1))
        assert not list(objections({name: near}, NOW))
        [objection] = objections({name: timestamp}, NOW)
        assert f"{name}: {timestamp} is more than 5 minutes ahead" in objection
        assert "as `date -u +%FT%TZ` prints it; for future times, use scaling.schedule." in objection


def test_local_time_ahead_of_utc_written_as_utc_gets_an_objection_in_every_time_zone() -> None:
    """The offsets of Vienna in winter, of Kathmandu, and of all others up to the date line; written a little later."""
    for minutes in range(15, 15 * 60, 15):
        text = f"{ago(5 - 60 * minutes):%Y-%m-%dT%H:%M:%SZ}"
        assert list(objections({WAKE_ANNOTATION: text}, NOW))


@pytest.mark.parametrize("annotations", [{}, {PAUSED_ANNOTATION: "true"}, {PAUSED_ANNOTATION: "false"}])
def test_valid_annotations_get_no_objection(annotations: dict[str, str]) -> None:
    assert not list(objections(annotations, NOW))


def test_an_invalid_value_of_the_pause_annotation_gets_an_objection() -> None:
    [objection] = objections({PAUSED_ANNOTATION: "yes"}, NOW)
    assert objection == f"{PAUSED_ANNOTATION}: 'yes' pauses nothing: write \"true\", or remove it."


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
def test_the_latest_request_counts(
    wake: float | None, sleep: float | None, woken: float | None, sent_to_sleep: float | None
) -> None:
    """All arguments are ages in seconds."""
    wake_at, sleep_at, woken_at, slept_at = (
        None if each is None else ago(each) for each in (wake, sleep, woken, sent_to_sleep)
    )
    found = Asked(wake_at, sleep_at)
    assert (found.woken(NOW), found.sent_to_sleep(NOW)) == (woken_at, slept_at)


def test_a_request_is_recent_from_its_timestamp_until_its_duration_is_over() -> None:
    assert [is_recent(ago(seconds), NOW, 60) for seconds in (-1, 0, 59, 60)] == [False, True, True, False]


def test_the_next_timestamp_is_the_first_one_in_the_future() -> None:
    assert Asked().next_moment(NOW, 60) is None
    assert Asked(ago(100), ago(90)).next_moment(NOW, 60) is None
    assert Asked(ago(30), ago(20)).next_moment(NOW, 60) == ago(-30)
    assert Asked(ago(-5), ago(20)).next_moment(NOW, 60) == ago(-5)
    assert Asked(ago(-3605), None).next_moment(NOW, -3600) == ago(-5)


# --- when they were written ------------------------------------------------------------------------------------------


def entry(seconds: float, *names: str, **more: Any) -> dict[str, Any]:
    """An entry of managedFields: a client wrote these annotations the given number of seconds ago."""
    annotations: dict[str, Any] = {".": {}, **{f"f:{name}": {} for name in names}}
    fields = {"f:metadata": {"f:annotations": annotations}, "f:spec": {"f:scaling": {}}}
    time = f"{ago(seconds):%Y-%m-%dT%H:%M:%SZ}"
    return {"manager": "kubectl-annotate", "operation": "Update", "time": time, "fieldsV1": fields, **more}


def test_the_latest_managed_fields_entry_with_an_annotation_says_when_it_was_written() -> None:
    entries = [entry(60, WAKE_ANNOTATION), entry(30, WAKE_ANNOTATION, SLEEP_ANNOTATION), entry(10, "team"), {}]
    assert written(WAKE_ANNOTATION, entries) == written(SLEEP_ANNOTATION, entries) == ago(30)
    assert written(PAUSED_ANNOTATION, entries) is None


def test_only_the_entries_of_these_annotations_are_kept_of_managed_fields() -> None:
    entries = [entry(60, "team"), entry(30, WAKE_ANNOTATION, "team"), {"manager": "x", "fieldsV1": {"f:spec": {}}}, {}]
    kept = writes(entries)
    assert written(WAKE_ANNOTATION, kept) == ago(30)
    assert "team" not in str(kept)
    assert writes([entry(60, "team")]) == []
    assert writes(kept) == kept


def test_only_the_latest_entry_of_an_annotation_is_kept() -> None:
    kept = writes([entry(seconds, WAKE_ANNOTATION) for seconds in range(1, 1000)])
    assert len(kept) == 1
    assert written(WAKE_ANNOTATION, kept) == ago(1)


@pytest.mark.parametrize("strange", [{"fieldsV1": None}, {"fieldsV1": {"f:metadata": []}}, {"time": None}, {"time": 5}])
def test_unreadable_managed_fields_say_nothing(strange: dict[str, Any]) -> None:
    entries = [entry(30, WAKE_ANNOTATION, **strange)]
    assert writes(entries) == []
    assert written(WAKE_ANNOTATION, entries) is None


def test_a_request_is_late_if_it_was_already_over_when_it_was_written() -> None:
    assert [is_late(ago(seconds), ago(0), 60) for seconds in (-1, 0, 59, 60)] == [False, False, False, True]
    assert not is_late(None, ago(0), 60)
    assert not is_late(ago(9999), None, 60)
