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
_AHEAD = 5 * _WINDOW  # bytes that are put together beyond where it is read; what is matched at once is shorter
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
    body = _Body(pieces)
    rested, outcome = 0, None
    while outcome is None and body.things < MOST_THINGS:
        outcome = body.read_on()
        if body.things + body.read // 64 - rested >= _STEP:
            rested = body.things + body.read // 64
            yield
    return outcome or False


class _Body:
    """One that is being read, of which only a part is put together at a time: to copy and to free megabytes takes too
    long, too. What `read_on` returns is whether it wants a stream, once that is known."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.at = 0
        self.things = 0
        self._pieces = iter(pieces)
        self._is_whole = False  # all that comes is here
        self._raw = bytearray()
        self._gone = 0  # bytes before it that have been read
        self._depth = 0
        self._text: int | None = None  # where the one begins that we are in; less than nothing, if that is gone
        self._wants = False

    @property
    def read(self) -> int:
        """Bytes, in all."""
        return self._gone + self.at

    def read_on(self) -> bool | None:
        self._fetch()
        return self._look_for_thing() if self._text is None else self._read_text(self._text)

    def _fetch(self) -> None:
        if self.at > _WINDOW and self._depth:  # what comes before the outermost object is still looked at
            self._gone += self.at
            self._text = None if self._text is None else self._text - self.at
            del self._raw[: self.at]
            self.at = 0
        while not self._is_whole and len(self._raw) - self.at < _AHEAD:
            if (piece := next(self._pieces, None)) is None:
                self._is_whole = True
            else:
                self._raw += piece

    def _look_for_thing(self) -> bool | None:
        found = _THING.search(self._raw, self.at, self.at + _WINDOW)
        if not found:
            self.at += _WINDOW
            return False if self.at >= len(self._raw) or not self._depth else None
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
        return self._wants and self._is_whole and _is_space(self._raw, self.at, len(self._raw))

    def _read_text(self, begin: int) -> bool | None:
        end = _end_of_text(self._raw, self.at)
        if self._raw[end : end + 1] != b'"':
            is_over = end == self.at  # the body ends in it
            self.at = end
            return False if is_over else None
        self.at, self._text = end + 1, None
        if self._depth == 1 and (value := _VALUE.match(self._raw, self.at)):
            if end - begin <= _LONGEST_KEY and _is_stream(self._raw[begin:end]):
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
        return bool(json.loads(b'"%b"' % bytes(key)) == "stream")
    except ValueError:
        return False
