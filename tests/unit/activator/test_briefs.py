"""Of however many pods, those that count are known, and few are read."""

from __future__ import annotations

from dataclasses import replace

from slipway.activator.briefs import MOST_SHOWN, Brief, those_that_count, those_that_tell

POD = Brief(
    name="a",
    uid="a",
    created="2026-11-21T09:00:00Z",
    version="v1",
    address="",
    is_ready=False,
    is_coming=False,
    is_leaving=False,
    container="",
    start=None,
)
COMING, READY = replace(POD, is_coming=True), replace(POD, is_ready=True)


def pods(like: Brief, number: int) -> list[Brief]:
    """The first is the oldest."""
    return [
        replace(like, name=f"{each:04}", created=f"2026-11-21T09:{each // 60:02}:{each % 60:02}Z")
        for each in range(number)
    ]


def test_a_replica_that_is_ready_counts_however_many_pods_are_newer() -> None:
    oldest = replace(READY, name="ready", created="2026-11-20T09:00:00Z")
    counted = those_that_count([*pods(COMING, 500), oldest], most=100)
    assert len(counted) == 100
    assert oldest in counted


def test_of_those_that_are_alike_the_newest_count() -> None:
    for like in (COMING, READY):
        counted = those_that_count(pods(like, 500), most=100)
        assert sorted(each.name for each in counted) == [f"{each:04}" for each in range(400, 500)]


def test_of_a_few_pods_all_count_and_all_are_read() -> None:
    few = [*pods(COMING, 2 * MOST_SHOWN), replace(READY, name="ready")]
    assert those_that_count(few) == few
    assert {*those_that_tell(few)} == {each.name for each in few}


def test_of_very_many_in_one_state_the_oldest_and_the_newest_are_read() -> None:
    told = those_that_tell(pods(COMING, 500))
    assert len(told) == 2 * MOST_SHOWN
    assert {"0000", "0499"} <= {*told}


def test_many_that_are_in_one_state_hide_none_in_another() -> None:
    ready = replace(READY, name="ready")
    leaving, over = replace(POD, name="leaving", is_leaving=True), replace(POD, name="over")
    assert {"ready", "leaving", "over"} <= {*those_that_tell([*pods(COMING, 500), ready, leaving, over])}


def test_an_older_version_is_not_read() -> None:
    newer = replace(COMING, name="new", version="v2", created="2026-11-22T09:00:00Z")
    assert those_that_tell([*pods(COMING, 5), newer]) == ["new"]
