"""Speculative decoding is judged by what the model accepts of its drafts, without changing its mind all the time."""

from __future__ import annotations

import pytest
from slipway.observing.speculation import NO_DRAFTS, Drafts, as_status, band_of, recent, with_speculative


def drafts(percent: float, drafted: int = 10_000) -> Drafts:
    return Drafts(drafted // 4, drafted, int(drafted * percent / 100))


@pytest.mark.parametrize(
    ("percent", "band"),
    [
        (100, "Excellent"),
        (80.1, "Excellent"),
        (80, "Good"),
        (60, "Good"),
        (59.9, "Marginal"),
        (40, "Marginal"),
        (39.9, "Off"),
        (0, "Off"),
    ],
)
def test_the_bands(percent: float, band: str) -> None:
    assert band_of(percent) == band


@pytest.mark.parametrize(("percent", "before", "band"), [(79, "Excellent", "Excellent"), (77.9, "Excellent", "Good")])
def test_a_band_stays_until_it_is_clearly_left(percent: float, before: str, band: str) -> None:
    assert band_of(percent, before) == band


def test_the_status_has_the_share_the_length_and_what_to_do() -> None:
    found = as_status(drafts(30), None)
    assert found == {
        "acceptance": 30.0,
        "acceptedLength": 2.2,
        "band": "Off",
        "advice": "Remove spec.engine.speculative: drafting takes more time than the accepted tokens save.",
    }
    assert as_status(drafts(35), found) is found  # no write
    assert (as_status(drafts(70), found) or {})["band"] == "Good"


def test_a_few_drafts_say_nothing() -> None:
    assert as_status(drafts(0, drafted=999), None) is None


def test_what_is_long_ago_counts_less() -> None:
    known = NO_DRAFTS
    before = NO_DRAFTS
    for percent in [90.0] * 30 + [10.0] * 30:
        now = Drafts(*(sum(pair) for pair in zip(before, drafts(percent, 20_000), strict=True)))
        known, before = recent(known, before, now), now
    assert known.acceptance < 20


def test_an_engine_that_has_started_again_counts_from_zero() -> None:
    assert recent(NO_DRAFTS, drafts(50, 8000), drafts(50, 4000)) == drafts(50, 4000)


def test_the_verdict_is_next_to_what_else_was_measured_and_goes_when_it_is_switched_off() -> None:
    status = {"measured": {"kvTokens": 100}, "state": "Serving"}
    found = with_speculative(status, None, drafts(70), is_on=True)
    assert found["measured"]["kvTokens"] == 100
    assert found["measured"]["speculative"]["band"] == "Good"
    again = with_speculative(status, found, NO_DRAFTS, is_on=True)
    assert again["measured"] == found["measured"]
    assert with_speculative(found, found, drafts(70), is_on=False) == status
    assert "measured" not in with_speculative({"state": "Idle"}, None, NO_DRAFTS, is_on=True)
