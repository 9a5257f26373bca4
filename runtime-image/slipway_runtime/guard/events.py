"""Where the events of a stream begin and end, as its bytes come, in pieces that were cut anywhere.

Lines end with \\n or \\r\\n, an empty one ends an event, and its data are the lines that begin with `data:`.
"""

from __future__ import annotations

from collections.abc import Iterator

LARGEST = 8 << 20  # bytes of an event that comes in parts; none that an engine makes has as many
LINES_AT_ONCE = 100

Span = tuple[int, int]


class Events:
    def __init__(self) -> None:
        self.buffer: bytes | bytearray = b""
        """What the spans are of: what has come of an event that isn't whole, and the newest piece."""
        self._line = 0
        """Where the line begins that isn't whole."""
        self._searched = 0
        self._event = 0
        """Where the event begins that isn't whole."""
        self._data: list[Span] = []

    def feed(self, piece: bytes) -> Iterator[tuple[Span, list[Span]] | None]:
        """Each event that is whole now, and the spans of its data; None where others may have a turn."""
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
            if end == line:
                event, data = (self._event, self._line), self._data
                self._event, self._data = self._line, []
                yield event, data
            elif buffer.startswith(b"data:", line):
                self._data.append((line + 5, end))
            lines += 1
            if lines % LINES_AT_ONCE == 0:
                yield None
        self._searched = len(buffer)

    def done(self) -> None:
        """Forgets the events that were told: what isn't whole stays."""
        whole = self._event
        if whole == len(self.buffer):
            self.buffer = b""
        elif isinstance(self.buffer, bytearray):
            del self.buffer[:whole]
        else:
            self.buffer = self.buffer[whole:]
        self._line, self._searched, self._event = self._line - whole, self._searched - whole, 0
        self._data = [(start - whole, end - whole) for start, end in self._data]

    @property
    def held(self) -> int:
        """Bytes of the event that isn't whole."""
        return len(self.buffer) - self._event
