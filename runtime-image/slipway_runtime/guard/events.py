"""Finds the events of a stream in its bytes, which arrive in pieces that were cut anywhere.

Lines end with \\n or \\r\\n, an empty line ends an event, and its data are the lines that start with `data:`.
"""

from __future__ import annotations

from collections.abc import Iterator

LARGEST = 1 << 20  # bytes that are held of an event that arrives in parts
NAME = len(b"data:")
LINES_AT_ONCE = 100
MOST_DATA = 1024
"""Lines of data that are read of one event. No engine writes more than one, and each is read separately."""

ByteRange = tuple[int, int]


class Events:
    def __init__(self) -> None:
        self.buffer: bytes | bytearray = b""
        """The bytes that ranges refer to: the incomplete event as far as it has arrived, and the newest piece."""
        self._line = 0
        """Where the incomplete line starts."""
        self._searched = 0
        self._event = 0
        """Where the incomplete event starts."""
        self._data: list[ByteRange] = []
        self._goes_on: bool | None = None
        """Whether the incomplete line is data, if its start was passed on already; None if it wasn't."""

    def feed(self, piece: bytes) -> Iterator[tuple[ByteRange, list[ByteRange]] | None]:
        """Yields each event that is complete now, with the ranges of its data; None where other requests may have a
        turn."""
        if self.buffer:
            if not isinstance(self.buffer, bytearray):
                self.buffer = bytearray(self.buffer)
            self.buffer += piece
        else:
            self.buffer = piece
        buffer, lines = self.buffer, 0
        while (end := buffer.find(b"\n", self._searched)) >= 0:
            line, self._line, self._searched = self._line, end + 1, end + 1
            if end > line and buffer[end - 1] == 0x0D:
                end -= 1
            if end == line and self._goes_on is None:
                event, data = (self._event, self._line), self._data
                self._event, self._data = self._line, []
                yield event, data
            else:
                self._learn(line, end)
            lines += 1
            if lines % LINES_AT_ONCE == 0:
                yield None
        self._searched = len(buffer)

    def _learn(self, line: int, end: int) -> None:
        """Handles a complete line that doesn't end the event."""
        if self._goes_on is not None:
            if self._goes_on:
                self._add((line, end))
            self._goes_on = None
        elif self.buffer.startswith(b"data:", line):
            self._add((line + NAME, end))
        elif line == self._event and self.buffer[line] == 0x3A:
            self._event = self._line  # a comment, which no reader has to wait for

    def _add(self, data: ByteRange) -> None:
        if len(self._data) < MOST_DATA:
            self._data.append(data)

    def done(self) -> None:
        """Forgets the complete events; the incomplete one stays."""
        whole = self._event
        if whole == len(self.buffer):
            self.buffer = b""
        elif isinstance(self.buffer, bytearray):
            del self.buffer[:whole]
        else:
            self.buffer = self.buffer[whole:]
        self._line, self._searched, self._event = self._line - whole, self._searched - whole, 0
        self._data = [(start - whole, end - whole) for start, end in self._data]

    def let_go(self) -> list[ByteRange]:
        """Returns the data of the incomplete event so far, which is no longer held from now on; `done` forgets it."""
        line, end = self._line, len(self.buffer)
        if self._goes_on is None and end - line < NAME:
            end = line  # too short to show whether it is data
        elif self._goes_on is None:
            self._goes_on = self.buffer.startswith(b"data:", line)
            line += NAME
        data = [*self._data, (line, end)] if self._goes_on and end > line else self._data
        self._event, self._line, self._data = end, end, []
        return data

    @property
    def held(self) -> int:
        """Bytes of the incomplete event."""
        return len(self.buffer) - self._event
