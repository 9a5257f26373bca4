"""A ledger counts what pods hold, each second once, whatever the operator missed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from unittest.mock import Mock

import pytest
from slipway.observing.ledger import Held, Ledger, Piece, Sums, Use, next_day, next_month, settle, used
from slipway.observing.ledger_record import as_status, is_due, ledger_in

NOON = datetime(2026, 11, 30, 12, 0, 0, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
MIDNIGHT = datetime(2026, 12, 1, tzinfo=UTC)
KNOWN = {"h100", "l4"}


def pod(uid: str = "a", since: datetime = NOON, **more: object) -> Held:
    """Two devices for 6 per hour together."""
    return replace(Held(uid=uid, accelerator="h100", devices=2, per_hour=6.0, since=since), **more)  # type: ignore[arg-type]


def begun(at: datetime = NOON, *held: Held, asleep: Held | None = None) -> Ledger:
    return settle(Ledger.starting_at(at), held, asleep, at)


def stored(ledger: Ledger, now: datetime) -> Ledger:
    """As the next operator reads it from the status."""
    return ledger_in({"cost": as_status(ledger)}, created=NOON - HOUR, known=KNOWN, now=now)


# --- what is counted --------------------------------------------------------------------------------------------------


def test_a_pod_costs_from_its_binding_until_it_is_gone() -> None:
    ledger = begun(NOON, pod())
    ledger = settle(ledger, [], None, NOON + HOUR)
    assert ledger.day.sums == Sums(spent=6.0, held=7200.0)
    assert settle(ledger, [], None, NOON + 5 * HOUR).day.sums == ledger.day.sums


@pytest.mark.parametrize("steps", [1, 2, 7, 60, 3600])
def test_the_sum_is_the_same_however_often_it_is_settled(steps: int) -> None:
    ledger = begun(NOON, pod())
    for step in range(1, steps + 1):
        ledger = settle(ledger, [pod()], None, NOON + HOUR * step / steps)
    assert ledger.month.sums.spent == pytest.approx(6.0)
    assert ledger.month.sums.held == pytest.approx(7200.0)


def test_a_pod_that_is_seen_late_costs_from_its_binding() -> None:
    ledger = settle(begun(), [pod(since=NOON + MINUTE)], None, NOON + HOUR)
    assert ledger.day.sums.spent == pytest.approx(5.9)


def test_a_pod_that_was_bound_just_before_the_last_observation_costs_from_its_binding() -> None:
    ledger = settle(begun(NOON + timedelta(seconds=3)), [pod(since=NOON)], None, NOON + HOUR)
    assert ledger.day.sums.spent == pytest.approx(6.0)


def test_a_pod_that_was_out_of_sight_for_a_moment_is_not_counted_twice() -> None:
    ledger = settle(begun(NOON, pod()), [], None, NOON + HOUR)
    ledger = settle(ledger, [pod()], None, NOON + HOUR + timedelta(seconds=10))
    assert ledger.day.sums.spent == pytest.approx(6.0 * (3600 + 10 + 60) / 3600)


def test_a_pod_whose_containers_have_ended_costs_until_then() -> None:
    ended = pod(until=NOON + 10 * MINUTE)
    ledger = settle(begun(NOON, pod()), [ended], None, NOON + HOUR)
    ledger = settle(ledger, [replace(ended, until=NOON + 2 * HOUR)], None, NOON + 2 * HOUR)
    assert ledger.day.sums.spent == pytest.approx(1.0)
    assert (ledger.devices, ledger.per_hour) == (0, 0)


def test_a_new_price_counts_from_when_it_is_seen() -> None:
    ledger = settle(begun(NOON, pod()), [pod(per_hour=12.0)], None, NOON + HOUR)
    ledger = settle(ledger, [pod(per_hour=12.0)], None, NOON + 2 * HOUR)
    assert ledger.day.sums.spent == pytest.approx(18.0)


def test_devices_without_a_price_are_counted_apart() -> None:
    ledger = settle(begun(NOON, pod(per_hour=None)), [pod(per_hour=None)], None, NOON + HOUR)
    assert ledger.day.sums == Sums(held=7200.0, unpriced=7200.0)
    assert ledger.per_hour is None


def test_sleep_saves_what_one_replica_would_have_cost_until_the_next_is_bound() -> None:
    replica = pod(uid="", per_hour=6.0)
    ledger = begun(NOON, asleep=replica)
    ledger = settle(ledger, [pod(since=NOON + 30 * MINUTE)], None, NOON + HOUR)
    assert ledger.day.sums == Sums(spent=3.0, held=3600.0, asleep=3600.0, saved=3.0)
    assert ledger.totals["h100"].saved == 3.0


def test_a_pod_that_has_failed_and_is_still_there_is_no_reason_to_count_less_sleep() -> None:
    failed = pod(until=NOON)
    ledger = settle(begun(NOON, pod()), [failed], pod(uid=""), NOON)
    ledger = settle(ledger, [failed], pod(uid=""), NOON + HOUR)
    assert ledger.day.sums == Sums(asleep=7200.0, saved=6.0)


def test_nothing_is_saved_while_a_pod_still_holds_its_devices() -> None:
    ledger = settle(begun(NOON, pod()), [pod()], pod(uid=""), NOON + HOUR)
    assert ledger.asleep is None


# --- many pods --------------------------------------------------------------------------------------------------------


def test_many_pods_cost_as_much_as_each_of_them_alone() -> None:
    pods = [
        pod("a"),
        pod("b", devices=1, per_hour=4.0),
        pod("c", accelerator="l4", per_hour=1.0),
        pod("d", per_hour=None),
        pod("e", accelerator="l4", per_hour=None, devices=8),
        pod("f", until=MIDNIGHT + MINUTE),
        pod("g", since=MIDNIGHT - MINUTE, per_hour=9.0),
    ]
    gone, later = {"b", "e"}, MIDNIGHT + HOUR
    together = settle(begun(NOON, *pods), pods, None, MIDNIGHT - HOUR)
    together = settle(together, [each for each in pods if each.uid not in gone], None, later).at(later + HOUR)
    alone = []
    for each in pods:
        ledger = settle(begun(NOON, each), [each], None, MIDNIGHT - HOUR)
        alone.append(settle(ledger, [] if each.uid in gone else [each], None, later).at(later + HOUR))
    assert_same(together.day.sums, [each.day.sums for each in alone])
    assert_same(together.month.sums, [each.month.sums for each in alone])
    for name in ("h100", "l4"):
        assert_same(together.totals[name], [each.totals[name] for each in alone if name in each.totals])


def assert_same(found: Sums, parts: list[Sums]) -> None:
    for name in ("spent", "held", "unpriced", "uncertain"):
        assert getattr(found, name) == pytest.approx(sum(getattr(each, name) for each in parts)), name


@pytest.mark.parametrize(("until", "pieces"), [(None, 1), (NOON, 0)])
def test_a_thousand_pods_are_counted_as_one_and_those_that_have_ended_not_again(
    until: datetime | None, pieces: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as a namespace may have, of which all may have failed."""
    pods = [pod(str(number), until=until) for number in range(1000)]
    ledger = settle(begun(NOON, *(pod(each.uid) for each in pods)), pods, None, NOON)
    made = Mock(wraps=Piece)
    monkeypatch.setattr("slipway.observing.ledger.Piece", made)
    ledger.at(NOON + HOUR)
    assert made.call_count == pieces


# --- days and months --------------------------------------------------------------------------------------------------


def test_a_pod_over_midnight_is_counted_in_both_days() -> None:
    before = settle(begun(MIDNIGHT - 2 * HOUR, pod(since=MIDNIGHT - 2 * HOUR)), [pod()], None, MIDNIGHT - HOUR)
    after = settle(before, [pod()], None, MIDNIGHT + 3 * HOUR)
    assert (before.day.sums.spent, before.month.sums.spent) == (6.0, 6.0)
    assert (after.day.sums.spent, after.month.sums.spent) == (18.0, 18.0)  # December, too
    assert after.totals["h100"].spent == pytest.approx(30.0)


def test_after_days_without_an_observation_only_this_day_counts_as_today() -> None:
    ledger = settle(begun(NOON, pod()), [pod()], None, NOON + 3 * timedelta(days=1))
    assert ledger.day.sums.spent == pytest.approx(12 * 6.0)
    assert ledger.month.sums.spent == pytest.approx(60 * 6.0)
    assert ledger.totals["h100"].spent == pytest.approx(72 * 6.0)


def test_months_of_all_lengths_end() -> None:
    assert next_month(datetime(2027, 1, 31, 23, tzinfo=UTC)) == datetime(2027, 2, 1, tzinfo=UTC)
    assert next_month(datetime(2026, 12, 1, tzinfo=UTC)) == datetime(2027, 1, 1, tzinfo=UTC)
    assert next_day(datetime(2028, 2, 28, 1, tzinfo=UTC)) == datetime(2028, 2, 29, tzinfo=UTC)


# --- clocks -----------------------------------------------------------------------------------------------------------


def test_a_clock_that_is_a_little_behind_counts_nothing_twice() -> None:
    ledger = settle(begun(NOON, pod()), [pod()], None, NOON + HOUR)
    ledger = settle(ledger, [pod()], None, NOON + HOUR - timedelta(seconds=20))
    ledger = settle(ledger, [pod()], None, NOON + HOUR + MINUTE)
    assert ledger.day.sums.spent == pytest.approx(6.1)


def test_counting_goes_on_after_a_clock_was_a_year_ahead() -> None:
    ledger = settle(begun(NOON, pod()), [pod()], None, NOON + timedelta(days=365))
    ledger = settle(ledger, [pod()], None, NOON)
    ledger = settle(ledger, [pod()], None, NOON + HOUR)
    assert ledger.as_of == NOON + HOUR
    assert ledger.day.sums.spent == pytest.approx(6.0)


# --- another operator goes on -----------------------------------------------------------------------------------------


def test_a_restart_loses_nothing_of_pods_that_still_run() -> None:
    written = settle(begun(NOON, pod()), [pod()], None, NOON + MINUTE)
    ledger = stored(written, NOON + HOUR)
    ledger = settle(ledger, [pod(), pod("b", since=NOON + 30 * MINUTE)], None, NOON + HOUR)
    assert ledger.day.sums.spent == pytest.approx(9.0)
    assert ledger.day.sums.uncertain == 0


def test_all_totals_survive_a_restart() -> None:
    """Or a counter would start again from zero, and what it has counted be counted again."""
    slept = settle(begun(NOON, asleep=pod(uid="")), [pod(since=NOON + HOUR)], None, NOON + 2 * HOUR)
    total = used(slept, "a", Use(900.0, 7, 5), NOON + 2 * HOUR).totals["h100"]
    found = stored(used(slept, "a", Use(900.0, 7, 5), NOON + 2 * HOUR), NOON + 2 * HOUR).totals["h100"]
    for name in ("spent", "used", "held", "busy", "asleep", "saved"):
        assert getattr(found, name) == pytest.approx(getattr(total, name)) != 0, name


def test_a_pod_that_ended_meanwhile_counts_until_the_restart_and_that_is_said() -> None:
    ledger = settle(stored(begun(NOON, pod()), NOON + HOUR), [], None, NOON + HOUR)
    assert (ledger.day.sums.spent, ledger.day.sums.uncertain) == (6.0, 6.0)
    later = settle(settle(ledger, [pod("b", since=NOON + HOUR)], None, NOON + HOUR), [], None, NOON + 2 * HOUR)
    assert (later.day.sums.spent, later.day.sums.uncertain) == (12.0, 6.0)


def test_more_pods_than_the_status_lists_are_not_counted_twice() -> None:
    pods = [pod(str(number)) for number in range(100)]
    written = settle(begun(NOON, *pods), pods, None, NOON + HOUR)
    ledger = settle(stored(written, NOON + 2 * HOUR), pods, None, NOON + 2 * HOUR)
    assert written.day.sums.spent == pytest.approx(600.0)
    assert ledger.day.sums.spent == pytest.approx(1200.0)


def test_without_a_status_what_runs_counts_from_its_binding() -> None:
    ledger = ledger_in(None, created=NOON - HOUR, known=KNOWN, now=NOON + HOUR)
    assert settle(ledger, [pod()], None, NOON + HOUR).day.sums.spent == pytest.approx(6.0)


@pytest.mark.parametrize(
    "cost",
    [
        "free",
        [],
        {"asOf": "yesterday"},
        {"asOf": NOON.isoformat(), "today": {"spent": -5.0}},
        {"asOf": NOON.isoformat(), "pods": [{"devices": -1}]},
        {"asOf": NOON.isoformat(), "totals": {"h100": 1}},
    ],
)
def test_a_status_that_others_have_written_counts_as_none(cost: object) -> None:
    ledger = ledger_in({"cost": cost}, created=NOON - HOUR, known=KNOWN, now=NOON)
    assert ledger == Ledger.starting_at(NOON - HOUR)


def test_a_forged_accelerator_becomes_no_label() -> None:
    totals = [{"accelerator": name, "spent": 1e300} for name in ("h100", "x" * 200, "y")]
    said = {"asOf": NOON.isoformat(), "totals": totals, "pods": [{"uid": "a", "accelerator": "z", "perHour": 1e300}]}
    ledger = ledger_in({"cost": said}, created=NOON - HOUR, known=KNOWN, now=NOON)
    assert set(ledger.totals) == {"h100", ""}
    assert {each.accelerator for each in ledger.held.values()} == {""}
    assert settle(ledger, [], None, NOON + HOUR).day.sums.spent <= 1e15


# --- use --------------------------------------------------------------------------------------------------------------


def test_use_is_what_a_reading_adds_to_the_one_before() -> None:
    ledger = used(begun(NOON, pod()), "a", Use(30.0, 100, 10), NOON + MINUTE)
    ledger = used(ledger, "a", Use(60.0, 150, 40), NOON + 2 * MINUTE)
    assert ledger.day.sums == Sums(used=0.1, busy=120.0, prompt_tokens=150, output_tokens=40)


def test_an_engine_that_has_started_again_counts_from_zero() -> None:
    ledger = used(begun(NOON, pod()), "a", Use(30.0, 100, 10), NOON + MINUTE)
    sums = used(ledger, "a", Use(5.0, 7, 3), NOON + 2 * MINUTE).day.sums
    assert (sums.busy, sums.prompt_tokens, sums.output_tokens) == (70.0, 107, 13)


@pytest.mark.parametrize("forged", [Use(1e12, 10**15, 10**15), Use(60.0, 60_000_000, 60_000_000)])
def test_a_forged_use_is_no_more_than_is_possible(forged: Use) -> None:
    sums = used(begun(NOON, pod()), "a", forged, NOON + MINUTE).day.sums
    assert sums == Sums(used=0.1, busy=120.0, prompt_tokens=60_000_000, output_tokens=60_000_000)


def test_a_forged_use_below_zero_counts_as_none() -> None:
    assert used(begun(NOON, pod()), "a", Use(-5.0, -7, -3), NOON + MINUTE).day.sums == Sums()


def test_a_reading_of_a_pod_that_is_gone_changes_nothing() -> None:
    ledger = begun(NOON, pod())
    assert used(ledger, "b", Use(5.0), NOON + MINUTE) is ledger


def test_the_next_operator_counts_use_from_where_this_one_has_stopped() -> None:
    ledger = used(begun(NOON, pod()), "a", Use(30.0, 100, 10), NOON + MINUTE)
    ledger = settle(ledger, [pod()], None, NOON + MINUTE)
    ledger = used(stored(ledger, NOON + 2 * MINUTE), "a", Use(50.0, 130, 30), NOON + 2 * MINUTE)
    assert ledger.day.sums.busy == pytest.approx(100.0, abs=0.01)
    assert (ledger.day.sums.prompt_tokens, ledger.day.sums.output_tokens) == (130, 30)


# --- the status -------------------------------------------------------------------------------------------------------


def test_the_status_is_due_when_other_devices_are_held_and_once_an_hour_otherwise() -> None:
    ledger = settle(begun(NOON, pod()), [pod()], None, NOON)
    cost = as_status(ledger)
    assert is_due({}, ledger, NOON, HOUR)
    assert not is_due(cost, settle(ledger, [pod()], None, NOON + 59 * MINUTE), NOON + 59 * MINUTE, HOUR)
    assert is_due(cost, ledger, NOON + HOUR, HOUR)
    for changed in ([], [pod("b")], [pod(), pod("b")], [pod(per_hour=7.0)], [pod(per_hour=None)]):
        assert is_due(cost, settle(ledger, changed, None, NOON), NOON, HOUR)


def test_a_model_that_sleeps_is_never_due() -> None:
    ledger = begun(NOON, asleep=pod(uid=""))
    cost = as_status(ledger)
    later = NOON + timedelta(days=40)
    assert not is_due(cost, settle(ledger, [], pod(uid=""), later), later, HOUR)
    assert not is_due(None, ledger, NOON, HOUR)


def test_a_million_tokens_cost_what_was_held_and_what_was_used_of_it() -> None:
    ledger = used(begun(NOON, pod()), "a", Use(900.0, 0, 500_000), NOON + HOUR)
    cost = as_status(settle(ledger, [pod()], None, NOON + HOUR))
    assert (cost["perMillionTokens"], cost["perMillionTokensUsed"]) == (12.0, 3.0)
    assert (cost["today"]["deviceHours"], cost["today"]["busyDeviceHours"]) == (2.0, 0.5)
