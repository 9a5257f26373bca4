"""The engine's output, line by line: passed on to the log, kept for a while, and shown to a callback."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable

from slipway_runtime.contract.lines import quotes_clients

LONGEST_LINE = 64 * 1024
REMEMBERED = 200
AT_ONCE = 1 << 20  # bytes; then other work gets its turn


class Output:
    def __init__(self, file: int, *, pass_on: Callable[[bytes], None], on_line: Callable[[str], None]) -> None:
        os.set_blocking(file, False)
        self._file, self._pass_on, self._on_line = file, pass_on, on_line
        self._unfinished = b""
        self.last: deque[str] = deque(maxlen=REMEMBERED)

    def fileno(self) -> int:
        return self._file

    def read(self) -> bool:
        """Reads what is there; returns False at the end of the output."""
        taken = 0
        while taken < AT_ONCE:
            try:
                piece = os.read(self._file, LONGEST_LINE)
            except BlockingIOError:
                return True
            if not piece:
                self._finish()
                return False
            taken += len(piece)
            self._take(piece)
        return True

    def close(self) -> None:
        """Reads what is left, even if a process that should be gone holds the other end open."""
        self.read()
        self._finish()
        os.close(self._file)

    def _take(self, piece: bytes) -> None:
        *lines, self._unfinished = (self._unfinished + piece).split(b"\n")
        for line in lines:
            self._line(line)
        while len(self._unfinished) > LONGEST_LINE:
            self._line(self._unfinished[:LONGEST_LINE])
            self._unfinished = self._unfinished[LONGEST_LINE:]

    def _finish(self) -> None:
        if self._unfinished:
            self._line(self._unfinished)
            self._unfinished = b""

    def _line(self, line: bytes) -> None:
        """Handles a line. A progress bar overwrites itself, so only its last form counts."""
        line = line.rstrip(b"\r").rpartition(b"\r")[2]
        self._pass_on(line + b"\n")
        text = line.decode(errors="replace")
        if text.strip() and not quotes_clients(text):  # there are many of these, and none says why an engine ends
            self.last.append(text)
        self._on_line(text)
