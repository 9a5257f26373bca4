"""What is read of one event of a stream is bounded by lines, too: each is read by itself, however short it is."""

from __future__ import annotations

import pytest
from slipway_runtime.guard.events import MOST_DATA, Events

LINE = b"data: x\n"


@pytest.mark.parametrize("lines", [MOST_DATA, 10 * MOST_DATA])
def test_of_an_event_of_very_many_lines_no_more_than_some_are_read(lines: int) -> None:
    events = Events()
    [(event, data)] = [each for each in events.feed(LINE * lines + b"\n") if each]
    assert event == (0, len(LINE) * lines + 1)
    assert len(data) == MOST_DATA


def test_nor_of_one_that_has_not_ended() -> None:
    events = Events()
    assert not [each for each in events.feed(LINE * 10 * MOST_DATA) if each]
    assert len(events.let_go()) == MOST_DATA
