"""How far a download is, for people and programs: lines of JSON, and a file with the newest one."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

WINDOW = 10.0  # seconds over which the rate is computed


class Progress:
    """Of one run. Safe for threads."""

    def __init__(self, model: str, *, every: float = 5.0, output: TextIO | None = None) -> None:
        self._model, self._every, self._output = model, every, output or sys.stdout
        self._lock = threading.Lock()
        self._total, self._done = 0, 0
        self._samples: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])
        self._waiting = ""
        self._files: list[Path] = []
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    # --- what the download says ------------------------------------------------------------------------------------

    def write_to(self, *files: Path) -> None:
        self._files += files

    def begin(self, total: int) -> None:
        """`total`: bytes of all files, as far as the source says."""
        with self._lock:
            self._total = total

    def arrived(self, size: int) -> None:
        with self._lock:
            self._done += size

    def present(self, size: int) -> None:
        """Bytes of an earlier run, which the rate leaves out; negative: they have to be received again."""
        with self._lock:
            self._done += size
            self._samples = deque((when, done + size) for when, done in self._samples)

    def waits(self, why: str) -> None:
        """Empty: no longer."""
        with self._lock:
            changed, self._waiting = bool(self._waiting) != bool(why), why
        if changed and why:
            self.report()

    def says(self, message: str) -> None:
        self.event("retry", message=message)

    def event(self, event: str, **fields: Any) -> dict[str, Any]:
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, "model": self._model}
        line |= fields
        with self._lock, contextlib.suppress(OSError, ValueError):  # a closed pipe doesn't end a download
            print(json.dumps(line, ensure_ascii=False), file=self._output, flush=True)
        return line

    # --- what it shows ---------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        with self._lock:
            now = time.monotonic()
            self._samples.append((now, self._done))
            while len(self._samples) > 2 and now - self._samples[1][0] >= WINDOW:
                self._samples.popleft()
            (then, before), done = self._samples[0], self._done
            rate = max(done - before, 0) / (now - then) if now > then else 0.0
            left = max(self._total - done, 0)
            return {
                "bytes": done,
                "total": self._total or None,
                "percent": round(100 * done / self._total, 1) if self._total else None,
                "bytesPerSecond": round(rate),
                "secondsLeft": round(left / rate) if rate and self._total else None,
                "waiting": self._waiting or None,
            }

    def info(self) -> dict[str, Any]:
        """What the pod says of itself to those that ask."""
        return {"model": self._model, "fetch": self.state()}

    def report(self) -> None:
        line = self.event("progress", **self.state())
        for file in self._files:
            with contextlib.suppress(OSError):
                new = file.with_name(f"{file.name}.new")
                new.write_text(json.dumps(line, ensure_ascii=False) + "\n")
                new.replace(file)

    @contextlib.contextmanager
    def reported(self) -> Iterator[None]:
        """A thread reports while the block runs."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        try:
            yield
        finally:
            self._ended.set()
            self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._every):
            self.report()
