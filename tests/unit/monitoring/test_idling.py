"""The story is refused with too short a time to idle, before anything is started."""

from __future__ import annotations

import argparse

import pytest
from support.monitoring.idling import idle_minutes


@pytest.mark.parametrize(("text", "minutes"), [("10", 10.0), ("12.5", 12.5), ("60", 60.0)])
def test_ten_minutes_and_more_are_taken(text: str, minutes: float) -> None:
    assert idle_minutes(text) == minutes


@pytest.mark.parametrize("text", ["9.9", "5", "0", "-60", "nan", "inf", "an hour", ""])
def test_less_is_refused_with_the_remedy(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="give 10 minutes or more"):
        idle_minutes(text)
