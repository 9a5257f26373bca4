"""What a start took from the compile cache: from `/info` to the status."""

from __future__ import annotations

import json
from typing import Any

import pytest
from slipway.observing.compile_report import CompileReport, is_settled, last_start, report_in


def info(**fields: Any) -> bytes:
    return json.dumps({"compileCache": {"state": "Used", "reason": "", **fields}}).encode()


def read(**fields: Any) -> CompileReport:
    found = report_in(info(**fields))
    assert found
    return found


@pytest.mark.parametrize(
    ("fields", "compiled"),
    [
        ({"state": "Used", "newFiles": 0}, "Nothing"),
        ({"state": "Used", "newFiles": 3}, "Something"),
        ({"state": "Used"}, None),
        ({"state": "Filling"}, "Everything"),
        ({"state": "Filled", "newFiles": 40}, "Everything"),
        ({"state": "Unavailable"}, "Everything"),
        ({"state": "Off"}, "Everything"),
    ],
)
def test_what_was_compiled_follows_from_the_state_and_the_new_files(fields: Any, compiled: str | None) -> None:
    assert read(**fields).compiled == compiled


def test_the_status_has_times_for_people_and_the_start_that_they_are_of() -> None:
    report = read(newFiles=0, readSeconds=1.23, compileSeconds=12.6, bytes=41 << 20)
    assert last_start(report, pod="a", started_at="2026-11-30T08:00:00Z") == {
        "state": "Used",
        "compiled": "Nothing",
        "compile": "13s",
        "read": "1.2s",
        "size": "41Mi",
        "pod": "a",
        "startedAt": "2026-11-30T08:00:00Z",
    }


def test_short_times_are_in_milliseconds() -> None:
    assert last_start(read(newFiles=0, readSeconds=0.034), pod="a", started_at="t")["read"] == "34ms"


@pytest.mark.parametrize("state", ["Filling", "Used"])
def test_a_start_of_which_more_will_be_known_is_read_again(state: str) -> None:
    start = {"pod": "a", "started_at": "2026-11-30T08:00:00Z"}
    report = read(state=state)
    assert not report.is_settled
    assert not is_settled({"compileCache": {"lastStart": last_start(report, **start)}}, **start)
    final = read(state="Filled") if state == "Filling" else read(newFiles=0)
    assert final.is_settled
    assert is_settled({"compileCache": {"lastStart": last_start(final, **start)}}, **start)


def test_another_start_than_the_known_one_is_not_settled() -> None:
    known = {"compileCache": {"lastStart": last_start(read(newFiles=0), pod="a", started_at="t1")}}
    assert not is_settled(known, pod="a", started_at="t2")
    assert not is_settled(known, pod="b", started_at="t1")


def test_of_an_engine_without_a_compile_cache_nothing_is_awaited() -> None:
    assert is_settled({}, pod="a", started_at="t1")


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"[]",
        b"{}",
        b'{"compileCache": 1}',
        b'{"compileCache": {"state": "Great"}}',
        b'{"compileCache": {"state": ["Used"]}}',
        b"[" * 100_000,
    ],
)
def test_anything_else_is_no_report(response: bytes) -> None:
    assert report_in(response) is None


def test_numbers_that_can_t_be_true_count_as_unknown() -> None:
    for value in (-1, 1e300, float("nan"), float("inf"), True, "7", None, [7], 1 << 60):
        report = read(bytes=value, newFiles=value if value != 1e300 else None, readSeconds=value, compileSeconds=value)
        assert (report.size, report.read_seconds, report.compile_seconds) == (None, None, None), value


def test_a_long_reason_is_cut_to_what_the_status_admits() -> None:
    assert len(read(reason="x" * 100_000).reason) <= 1024
