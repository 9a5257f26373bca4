"""Counts the values in JSON while it passes: numbers, strings, literals, containers, and names of members.

A parser makes an object of each, which takes many times the bytes in which it is written. The count may be slightly
high, since a container counts as if it had content, but never low: at invalid JSON, a parser stops.
"""

from __future__ import annotations

BACKSLASH, QUOTE = b"\\", b'"'


class Values:
    __slots__ = ("_in_string", "_rest", "number")

    def __init__(self) -> None:
        self.number = 1
        self._in_string = False
        self._rest = b""
        """A backslash, if the character that it escapes has not arrived."""

    def feed(self, data: bytes) -> None:
        if self._rest or BACKSLASH in data:
            data = self._without_escapes(self._rest + data)
        parts = data.split(QUOTE)
        outside = b"".join(parts[self._in_string :: 2])
        # Names are followed by a colon. All other values follow a comma, or are the first of a container.
        self.number += sum(map(outside.count, (b",", b":", b"[", b"{")))
        self._in_string ^= len(parts) % 2 == 0

    def _without_escapes(self, data: bytes) -> bytes:
        """A row of backslashes starts with one that is not escaped itself, so pairs are counted from its start."""
        data = data.replace(BACKSLASH * 2, b"").replace(BACKSLASH + QUOTE, b"")
        self._rest = BACKSLASH if data.endswith(BACKSLASH) else b""
        return data.removesuffix(BACKSLASH)
