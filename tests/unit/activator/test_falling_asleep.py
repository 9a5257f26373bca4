"""Requests that come at the very moment at which a model goes to sleep, in virtual time; make chaos tries many more."""

from support.fakes.sleep_scenarios import run_scenarios, sent_to_sleep_by_hand, woken_by_hand


def test_whenever_a_request_comes_it_is_answered_and_the_model_sleeps_again() -> None:
    moments = run_scenarios(seeds=range(30))
    assert moments["going to sleep"]


def test_who_wakes_it_by_hand_wakes_it_once() -> None:
    run_scenarios(seeds=range(10), play=woken_by_hand)


def test_who_sends_it_to_sleep_loses_no_request_and_it_sleeps_at_once() -> None:
    moments = run_scenarios(seeds=range(30), play=sent_to_sleep_by_hand)
    assert moments["awake"]
    assert moments["going to sleep"] or moments["asleep"]
