"""Requests that come at the very moment at which a model goes to sleep, in virtual time; make chaos tries many more."""

from support.bedtimes import tried


def test_whenever_a_request_comes_it_is_answered_and_the_model_sleeps_again() -> None:
    moments = tried(seeds=range(30))
    assert moments["going to sleep"]
