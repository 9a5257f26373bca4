"""Whether a request asks for its response as a stream: read from its body without parsing all of it. Pure.

To parse a body of megabytes in one go would delay all other requests. So it is read in steps of a millisecond or two,
and one that consists of very many small values isn't read to its end: it is answered without heartbeats.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterable

MOST_TOKENS = 100_000
"""Quotation marks and brackets in a body; the longest conversations have a tenth of it."""

_WINDOW = 64 * 1024  # bytes that are searched in one go
_AHEAD = 5 * _WINDOW  # bytes that are joined beyond the position; whatever is matched in one go is shorter
_STEP = 2048  # tokens, or pieces of 64 bytes: about a millisecond
_TOKEN = re.compile(rb'["\[\]{}]')
_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_SPACE = re.compile(rb"[ \t\r\n]{0,65535}+")
_VALUE = re.compile(rb"(?P<space>[ \t\r\n]{0,65535}+:[ \t\r\n]{0,65535}+)(true[ \t\r\n]{0,65535}+[,}])?")
_LONGEST_KEY = len(r"\u0073") * len("stream")


def wants_stream(body: bytes) -> bool:
    """In one go."""
    steps = detect_stream([body])
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return bool(end.value)


def detect_stream(pieces: Iterable[bytes]) -> Generator[None, None, bool]:
    """Searches for `"stream": true` in the outermost object, step by step; the last one counts, as in JSON."""
    scanner = _BodyScanner(pieces)
    paused_at, outcome = 0, None
    while outcome is None and scanner.tokens < MOST_TOKENS:
        outcome = scanner.read_on()
        if scanner.tokens + scanner.read // 64 - paused_at >= _STEP:
            paused_at = scanner.tokens + scanner.read // 64
            yield
    return outcome or False


class _BodyScanner:
    """Reads one body, of which only a part is joined at a time: to copy and to free megabytes would take too long as
    well. `read_on` returns whether it asks for a stream, once that is known."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.at = 0
        self.tokens = 0
        self._pieces = iter(pieces)
        self._is_complete = False  # all pieces are in `_raw`
        self._raw = bytearray()
        self._dropped = 0  # bytes before it that have been read
        self._depth = 0
        self._string: int | None = None  # where the string starts that we are in; negative if that part is dropped
        self._wants_stream = False

    @property
    def read(self) -> int:
        """Bytes, in all."""
        return self._dropped + self.at

    def read_on(self) -> bool | None:
        self._fetch()
        return self._find_token() if self._string is None else self._read_string(self._string)

    def _fetch(self) -> None:
        if self.at > _WINDOW and self._depth:  # what precedes the outermost object is still needed
            self._dropped += self.at
            self._string = None if self._string is None else self._string - self.at
            del self._raw[: self.at]
            self.at = 0
        while not self._is_complete and len(self._raw) - self.at < _AHEAD:
            if (piece := next(self._pieces, None)) is None:
                self._is_complete = True
            else:
                self._raw += piece

    def _find_token(self) -> bool | None:
        found = _TOKEN.search(self._raw, self.at, self.at + _WINDOW)
        if not found:
            self.at += _WINDOW
            return False if self.at >= len(self._raw) or not self._depth else None
        token = found[0]
        if not self._depth and not (token == b"{" and _is_space(self._raw, 0, found.start())):
            return False
        self.tokens += 1
        self.at = found.end()
        if token == b'"':
            self._string = self.at
            return None
        self._depth += 1 if token in b"[{" else -1
        if self._depth:
            return None
        return self._wants_stream and self._is_complete and _is_space(self._raw, self.at, len(self._raw))

    def _read_string(self, start: int) -> bool | None:
        end = _end_of_string(self._raw, self.at)
        if self._raw[end : end + 1] != b'"':
            is_over = end == self.at  # the body ends within it
            self.at = end
            return False if is_over else None
        self.at, self._string = end + 1, None
        if self._depth == 1 and (value := _VALUE.match(self._raw, self.at)):
            if end - start <= _LONGEST_KEY and _is_stream(self._raw[start:end]):
                self._wants_stream = value[2] is not None
            self.at = value.end("space")
        return None


def _end_of_string(body: bytearray, at: int) -> int:
    """Where its closing quotation mark is, or where to search on."""
    part = _STRING.match(body, at, at + _WINDOW)
    return part.end() if part else at


def _is_space(body: bytearray, start: int, end: int) -> bool:
    return _SPACE.fullmatch(body, start, end) is not None


def _is_stream(key: bytearray) -> bool:
    """Letters may be written as escapes, too."""
    if b"\\" not in key:
        return key == b"stream"
    try:
        return bool(json.loads(b'"%b"' % bytes(key)) == "stream")
    except ValueError:
        return False
