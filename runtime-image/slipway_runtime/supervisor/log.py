"""The container's log: what the engine prints, and what the runtime says itself, on one stream and in order.

A thread of its own writes, because the other end of the stream may be slow or stuck, and neither the engine nor the
probes may wait for it. What there is no room for is counted and left out.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from typing import Final

ROOM = 4096  # lines that wait to be written


class Log:
    def __init__(self, file: int | None = None, *, room: int = ROOM) -> None:
        self._file = sys.stderr.fileno() if file is None else file
        self._lines: Final = queue.Queue[bytes](maxsize=room)
        self._thread: threading.Thread | None = None
        self.dropped = 0

    def start(self) -> None:
        """From here on, nobody who writes waits; before it, each writes by itself, so that the process can fork."""
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def say(self, sentence: str) -> None:
        self.pass_on(f"slipway-runtime: {sentence}\n".encode(errors="replace"))

    def pass_on(self, line: bytes) -> None:
        if self._thread is None:
            _write_all(self._file, line)
            return
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self.dropped += 1

    def close(self, patience: float = 1.0) -> None:
        """Writes what is left, as far as the stream takes it in time."""
        if self._thread:
            if self.dropped:
                self.say(f"{self.dropped} lines of output were left out here, because nobody took them in time.")
            try:
                self._lines.put(b"", timeout=patience)  # the end
                self._thread.join(patience)
            except queue.Full:
                return

    def _write(self) -> None:
        while line := self._lines.get():
            _write_all(self._file, line)


def _write_all(file: int, line: bytes) -> None:
    try:
        while line:
            line = line[os.write(file, line) :]
    except OSError:  # nobody listens any more
        return
