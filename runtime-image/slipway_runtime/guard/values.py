"""How many values JSON has, counted while it goes by: numbers, strings, literals, containers, and names of members.

A parser makes an object of each, which takes many times of the bytes in which it is written. What is counted may be a
few more than there are, since a container counts as if something were in it, and never less: where JSON is broken, a
parser ends.
"""

from __future__ import annotations

BACKSLASH, QUOTE = b"\\", b'"'


class Values:
    __slots__ = ("_in_string", "_rest", "number")

    def __init__(self) -> None:
        self.number = 1
        self._in_string = False
        self._rest = b""
        """A backslash, if what it escapes is still to come."""

    def feed(self, data: bytes) -> None:
        if self._rest or BACKSLASH in data:
            data = self._without_escapes(self._rest + data)
        parts = data.split(QUOTE)
        outside = b"".join(parts[self._in_string :: 2])
        # Names have a colon after them. All else has a comma before it, or is the first of a container.
        self.number += sum(map(outside.count, (b",", b":", b"[", b"{")))
        self._in_string ^= len(parts) % 2 == 0

    def _without_escapes(self, data: bytes) -> bytes:
        """A row of backslashes begins with one that is not escaped itself, so pairs are told from its begin."""
        data = data.replace(BACKSLASH * 2, b"").replace(BACKSLASH + QUOTE, b"")
        self._rest = BACKSLASH if data.endswith(BACKSLASH) else b""
        return data.removesuffix(BACKSLASH)
