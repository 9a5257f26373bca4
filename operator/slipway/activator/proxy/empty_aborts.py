"""Tells an engine's empty abort from an answer. Pure.

vLLM, told to end, goes on to accept requests for a while and answers them with 200, `finish_reason: "abort"` and no
text. Such an answer must not reach a client. So the beginning of an answer is kept back until it is known to be none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from typing import Any

LONGEST = 64 * 1024
"""An empty abort is never this long. An answer that is needn't be looked at."""

MOST_VALUES, MOST_EVENTS = 4 * 1024, 512
"""What has more things in it than this is no abort, and would take too long to look at while others wait."""
VALUES_OF_A_STEP, EVENTS_OF_A_STEP = 1024, 32
"""That are looked at before others are served again: a millisecond or two; for an event that has all it may, four."""

_END_OF_EVENT = re.compile(rb"\r?\n\r?\n")
_LONGEST_END = 4


class AbortDetector:
    """The first bytes of an answer with status 200, until they tell."""

    def __init__(self, content_type: bytes) -> None:
        media_type = content_type.split(b";", 1)[0].strip().lower()
        self._is_stream = media_type == b"text/event-stream"
        self._is_decided = media_type not in (b"text/event-stream", b"application/json")
        self._kept = bytearray()
        self._events = 0
        self._looked_at = 0  # up to there, events are complete
        self._searched = 0  # and up to there, there is no end of another
        self._values = 0  # in the events of this step
        self.is_abort = False

    @property
    def is_decided(self) -> bool:
        return self._is_decided

    def add(self, data: bytes) -> bool:
        """Whether there is more to look at, in steps: others shall be served meanwhile."""
        self._kept += data
        if len(self._kept) > LONGEST:
            self._is_decided = True
        return self._is_stream and self._look_at_events()

    def rest(self) -> Generator[None, None, None]:
        while self._look_at_events():
            yield

    def end(self) -> None:
        """The answer is complete."""
        if not self._is_decided and not self._is_stream:
            self._decide(_parsed(bytes(self._kept)))
        self._is_decided = True

    def _look_at_events(self) -> bool:
        """At some; whether there may be more."""
        first, self._values = self._events, 0
        while not self._is_decided:
            end = _END_OF_EVENT.search(self._kept, max(self._looked_at, self._searched))
            if not end:
                self._searched = max(0, len(self._kept) - _LONGEST_END)
                return False
            if self._events - first >= EVENTS_OF_A_STEP or self._values >= VALUES_OF_A_STEP:
                return True
            event = bytes(self._kept[self._looked_at : end.start()])
            self._looked_at = end.end()
            self._events += 1
            if self._events > MOST_EVENTS:
                self._is_decided = True
            else:
                self._look_at_event(event)
        return False

    def _look_at_event(self, event: bytes) -> None:
        lines = [line for line in event.splitlines() if line and not line.startswith(b":")]  # those are comments
        if len(lines) == 1 and lines[0].startswith(b"data:"):
            self._values += _values(lines[0])
            self._decide(_parsed(lines[0][5:]))
        elif lines:
            self._is_decided = True  # a kind of stream that we know nothing of

    def _decide(self, said: Any) -> None:
        """An event that neither says a word nor ends tells nothing yet."""
        choices = said.get("choices") if isinstance(said, dict) else None
        if not isinstance(choices, list) or not choices or not all(isinstance(choice, dict) for choice in choices):
            self._is_decided = True
            return
        ended = [choice.get("finish_reason") for choice in choices]
        has_content = any(_has_content(choice) for choice in choices)
        self._is_decided = has_content or any(ended)
        self.is_abort = not has_content and all(reason == "abort" for reason in ended)


def _has_content(choice: dict[str, Any]) -> bool:
    """Whether there is anything in it but the role."""
    said = choice.get("delta") or choice.get("message") or {}
    said = said if isinstance(said, dict) else {"content": said}
    return bool(choice.get("text")) or any(value for key, value in said.items() if key != "role")


def _values(data: bytes) -> int:
    return sum(map(data.count, (b",", b":", b"[", b"{")))


def _parsed(data: bytes) -> Any:
    if _values(data) > MOST_VALUES:
        return None
    try:
        return json.loads(data.decode())
    except (ValueError, RecursionError):
        return None
