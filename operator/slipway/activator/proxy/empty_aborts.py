"""Recognises an engine's empty abort, which is no response. Pure.

vLLM, after the signal to stop, still accepts requests for a while and responds to them with 200, `finish_reason:
"abort"` and no text. A client must never get this. So the start of a response is kept back until it is known to be a
response.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from enum import Enum, auto
from typing import Any

LONGEST = 64 * 1024
"""Bytes. An empty abort is never this long, and a longer response isn't examined."""

MOST_VALUES, MOST_EVENTS = 4 * 1024, 512
"""A response with more of them is no abort, and would take too long to examine while others wait."""
VALUES_OF_A_STEP, EVENTS_OF_A_STEP = 1024, 32
"""That are examined before others are served again: a millisecond or two; four for an event with the most values."""

_END_OF_EVENT = re.compile(rb"\r?\n\r?\n")
_LONGEST_END = 4


class AbortVerdict(Enum):
    UNDECIDED = auto()
    RESPONSE = auto()
    ABORT = auto()


UNDECIDED, RESPONSE, ABORT = AbortVerdict
"""To read a member of an enum's class takes four times as long as to read a constant (Python 3.11)."""


class AbortDetector:
    """Examines the first bytes of a response with status 200 until it is decided what it is."""

    def __init__(self, content_type: bytes) -> None:
        media_type = content_type.split(b";", 1)[0].strip().lower()
        may_be_abort = media_type in (b"text/event-stream", b"application/json")
        self._verdict = UNDECIDED if may_be_abort else RESPONSE
        self._is_stream = media_type == b"text/event-stream"
        self._received = bytearray()
        self._events = 0
        self._examined = 0  # up to there, events are complete
        self._searched = 0  # and up to there, no other event ends
        self._values = 0  # in the events of this step

    @property
    def is_decided(self) -> bool:
        return self._verdict is not UNDECIDED

    @property
    def is_abort(self) -> bool:
        return self._verdict is ABORT

    def add(self, data: bytes) -> bool:
        """Returns whether there is more to examine by `rest`, in steps, between which others are served."""
        self._received += data
        if len(self._received) > LONGEST and not self.is_decided:
            self._verdict = RESPONSE
        return self._is_stream and self._examine_events()

    def rest(self) -> Generator[None, None, None]:
        while self._examine_events():
            yield

    def end(self) -> None:
        """The response is complete."""
        if not self.is_decided and not self._is_stream:
            self._examine(_parsed(bytes(self._received)))
        if not self.is_decided:
            self._verdict = RESPONSE

    def _examine_events(self) -> bool:
        """Some of them; returns whether there may be more."""
        first, self._values = self._events, 0
        while not self.is_decided:
            end = _END_OF_EVENT.search(self._received, max(self._examined, self._searched))
            if not end:
                self._searched = max(0, len(self._received) - _LONGEST_END)
                return False
            if self._events - first >= EVENTS_OF_A_STEP or self._values >= VALUES_OF_A_STEP:
                return True
            event = bytes(self._received[self._examined : end.start()])
            self._examined = end.end()
            self._events += 1
            if self._events > MOST_EVENTS:
                self._verdict = RESPONSE
            else:
                self._examine_event(event)
        return False

    def _examine_event(self, event: bytes) -> None:
        lines = [line for line in event.splitlines() if line and not line.startswith(b":")]  # those are comments
        if len(lines) == 1 and lines[0].startswith(b"data:"):
            self._values += _values(lines[0])
            self._examine(_parsed(lines[0][5:]))
        elif lines:
            self._verdict = RESPONSE  # a kind of stream that isn't known here

    def _examine(self, message: Any) -> None:
        """An event that neither has text nor a finish reason decides nothing yet."""
        choices = message.get("choices") if isinstance(message, dict) else None
        if not isinstance(choices, list) or not choices or not all(isinstance(choice, dict) for choice in choices):
            self._verdict = RESPONSE
            return
        reasons = [choice.get("finish_reason") for choice in choices]
        if any(_has_content(choice) for choice in choices):
            self._verdict = RESPONSE
        elif any(reasons):
            is_abort = all(reason == "abort" for reason in reasons)
            self._verdict = ABORT if is_abort else RESPONSE


def _has_content(choice: dict[str, Any]) -> bool:
    """Whether it has anything but the role."""
    message = choice.get("delta") or choice.get("message") or {}
    message = message if isinstance(message, dict) else {"content": message}
    return bool(choice.get("text")) or any(value for key, value in message.items() if key != "role")


def _values(data: bytes) -> int:
    return sum(map(data.count, (b",", b":", b"[", b"{")))


def _parsed(data: bytes) -> Any:
    if _values(data) > MOST_VALUES:
        return None
    try:
        return json.loads(data.decode())
    except (ValueError, RecursionError):
        return None
