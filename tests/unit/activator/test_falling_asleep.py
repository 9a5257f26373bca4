"""Requests that arrive just when a model goes to sleep, in virtual time; `make chaos` tries many more moments."""

from support.fakes.sleep_scenarios import run_scenarios, sent_to_sleep_by_hand, woken_by_hand


def test_whenever_a_request_arrives_it_is_answered_and_the_model_sleeps_again() -> None:
    moments = run_scenarios(seeds=range(30))
    assert moments["going to sleep"]


def test_a_wake_by_annotation_wakes_it_once() -> None:
    run_scenarios(seeds=range(10), play=woken_by_hand)


def test_a_sleep_by_annotation_loses_no_request_and_takes_effect_immediately() -> None:
    moments = run_scenarios(seeds=range(30), play=sent_to_sleep_by_hand)
    assert moments["awake"]
    assert moments["going to sleep"] or moments["asleep"]
