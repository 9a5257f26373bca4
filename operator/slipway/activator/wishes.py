"""Whether a request wants its answer as a stream: found in its body without parsing all of it. Pure.

A body of megabytes, parsed at once, keeps everybody else waiting; so it is read in steps of a millisecond or two,
and one that is made of ever so many small things isn't read to its end: it is answered without heartbeats.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterable

MOST_THINGS = 100_000
"""Texts, objects and lists in a body; the largest conversations have a tenth of it."""

_WINDOW = 64 * 1024  # bytes that are looked at in one go
_JOINED = 1 << 20  # bytes that are put together in one go
_STEP = 2048  # things, or pieces of 64 bytes: about a millisecond
_THING = re.compile(rb'["\[\]{}]')
_TEXT = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_SPACE = re.compile(rb"[ \t\r\n]{0,65535}+")
_VALUE = re.compile(rb"(?P<space>[ \t\r\n]{0,65535}+:[ \t\r\n]{0,65535}+)(true[ \t\r\n]{0,65535}+[,}])?")
_LONGEST_KEY = len(r"\u0073") * len("stream")


def wants_stream(body: bytes) -> bool:
    """All at once."""
    steps = looking([body])
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return bool(end.value)


def looking(pieces: Iterable[bytes]) -> Generator[None, None, bool]:
    """Looks for `"stream": true` in the outermost object, step by step; of several, the last counts, as in JSON."""
    raw, rested_at = bytearray(), 0
    for piece in pieces:
        raw += piece
        if len(raw) - rested_at > _JOINED:
            rested_at = len(raw)
            yield
    body = _Body(raw)
    rested, outcome = 0, None
    while outcome is None and body.things < MOST_THINGS:
        outcome = body.read_on()
        if body.things + body.at // 64 - rested >= _STEP:
            rested = body.things + body.at // 64
            yield
    return outcome or False


class _Body:
    """One that is being read. What `read_on` returns is whether it wants a stream, once that is known."""

    def __init__(self, raw: bytearray) -> None:
        self.at = 0
        self.things = 0
        self._raw = raw
        self._depth = 0
        self._text: int | None = None  # where the one begins that we are in
        self._wants = False

    def read_on(self) -> bool | None:
        return self._look_for_thing() if self._text is None else self._read_text(self._text)

    def _look_for_thing(self) -> bool | None:
        found = _THING.search(self._raw, self.at, self.at + _WINDOW)
        if not found:
            self.at += _WINDOW
            return False if self.at >= len(self._raw) else None
        thing = found[0]
        if not self._depth and not (thing == b"{" and _is_space(self._raw, 0, found.start())):
            return False
        self.things += 1
        self.at = found.end()
        if thing == b'"':
            self._text = self.at
            return None
        self._depth += 1 if thing in b"[{" else -1
        if self._depth:
            return None
        return self._wants and _is_space(self._raw, self.at, len(self._raw))

    def _read_text(self, begin: int) -> bool | None:
        end = _end_of_text(self._raw, self.at)
        if self._raw[end : end + 1] != b'"':
            is_over = end == self.at  # the body ends in it
            self.at = end
            return False if is_over else None
        self.at, self._text = end + 1, None
        if self._depth == 1 and (value := _VALUE.match(self._raw, self.at)):
            if _is_stream(self._raw[begin:end]):
                self._wants = value[2] is not None
            self.at = value.end("space")
        return None


def _end_of_text(body: bytearray, at: int) -> int:
    """Where its closing quotation mark is, or where to look on."""
    part = _TEXT.match(body, at, at + _WINDOW)
    return part.end() if part else at


def _is_space(body: bytearray, start: int, end: int) -> bool:
    return _SPACE.fullmatch(body, start, end) is not None


def _is_stream(key: bytearray) -> bool:
    """Letters may be written as numbers, too."""
    if b"\\" not in key:
        return key == b"stream"
    try:
        return len(key) <= _LONGEST_KEY and json.loads(b'"%b"' % bytes(key)) == "stream"
    except ValueError:
        return False
