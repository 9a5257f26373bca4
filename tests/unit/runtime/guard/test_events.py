"""How much is read of one event of a stream is bounded per line, too: each line is read on its own, however short."""

from __future__ import annotations

import pytest
from slipway_runtime.guard.events import MOST_DATA, Events

LINE = b"data: x\n"


@pytest.mark.parametrize("lines", [MOST_DATA, 10 * MOST_DATA])
def test_of_an_event_of_very_many_lines_only_a_limited_number_is_read(lines: int) -> None:
    events = Events()
    [(event, data)] = [each for each in events.feed(LINE * lines + b"\n") if each]
    assert event == (0, len(LINE) * lines + 1)
    assert len(data) == MOST_DATA


def test_of_an_unfinished_event_of_very_many_lines_only_a_limited_number_is_read() -> None:
    events = Events()
    assert not [each for each in events.feed(LINE * 10 * MOST_DATA) if each]
    assert len(events.let_go()) == MOST_DATA
