"""The container's log: what the engine prints, and the runtime's own messages, on one stream and in order.

A separate thread writes, because the reader of the stream may be slow or stuck, and neither the engine nor the probes
may wait for it. Lines beyond the buffer are counted and left out.
"""

from __future__ import annotations

import os
import sys
import threading

ROOM = 16 << 20  # bytes that wait to be written
AT_ONCE = 64 * 1024


class Log:
    def __init__(self, file: int | None = None, *, room: int = ROOM) -> None:
        self._file = sys.stderr.fileno() if file is None else file
        self._room = room
        self._waiting = bytearray()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self.dropped = 0

    def start(self) -> None:
        """Starts the thread: from here on, no caller waits. Before it, callers write themselves, so that the process
        can fork."""
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def say(self, sentence: str) -> None:
        self.pass_on(f"slipway-runtime: {sentence}\n".encode(errors="replace"))

    def pass_on(self, line: bytes) -> None:
        if self._thread is None:
            _write_all(self._file, line)
            return
        with self._changed:
            if len(self._waiting) + len(line) > self._room:
                self.dropped += 1
                return
            self._waiting += line
            self._changed.notify()

    def close(self, patience: float = 1.0) -> None:
        """Writes what is left, as far as the stream accepts it in time."""
        if self.dropped:
            self.say(f"{self.dropped} lines were left out of this log, because the log was not read in time.")
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        if self._thread:
            self._thread.join(patience)

    def _write(self) -> None:
        while piece := self._next():
            _write_all(self._file, piece)

    def _next(self) -> bytes:
        """Returns the next piece to write; nothing at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            piece = bytes(self._waiting[:AT_ONCE])
            del self._waiting[:AT_ONCE]
            return piece


def _write_all(file: int, text: bytes) -> None:
    try:
        while text:
            text = text[os.write(file, text) :]
    except OSError:  # no one reads the stream any more
        return
