"""Servers that want to be left alone: after a 429, or a 503 with Retry-After, no thread sends them anything until then.

Then one request is sent. Only once it has succeeded do the others follow: so many connections don't multiply what a
server has just refused. How long it lasts is also written to a file, so that a restarted program waits as well.
"""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from slipway_fetcher.problem import FetchError, Reason, StoppedError

LONGEST_PAUSE = 60.0  # seconds, where the server doesn't say how long


@dataclass
class _Gate:
    until: float  # on the wall clock, which a restart survives
    refusals: int = 0
    probing: bool = False


class Gates:
    """One for each origin that is busy. `waits` is called with a sentence while a thread waits, then with ""."""

    def __init__(
        self,
        give_up_after: float,
        stop: threading.Event,
        waits: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._limit, self._stop, self._waits, self._clock = give_up_after, stop, waits, clock
        self._gates: dict[str, _Gate] = {}
        self._changed = threading.Condition()
        self._file: Path | None = None

    def keep_in(self, file: Path) -> None:
        """Reads what an earlier run has noted there, and notes the same for a later one."""
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
            latest = self._clock() + 24 * 3600
            for origin, until in json.loads(file.read_text()).items():
                self._gates.setdefault(origin, _Gate(min(float(until), latest)))
        self._file = file

    def enter(self, origin: str) -> bool:
        """Returns when a request may be sent: whether it is the one that finds out if the server is still busy."""
        with self._changed:
            waited = False
            while gate := self._gates.get(origin):
                left = gate.until - self._clock()
                if left <= 0 and not gate.probing:
                    gate.probing = True
                    break
                if left > self._limit:
                    raise self._too_long(origin, left)
                waited = True
                self._waits(f"{origin} is busy; the next request is sent in {max(left, 0):,.0f} s")
                self._changed.wait(min(left, 1.0) if left > 0 else 1.0)
                if self._stop.is_set():
                    raise StoppedError
            if waited:
                self._waits("")
            return gate is not None

    def busy(self, origin: str, retry_after: float | None, *, is_probe: bool) -> float:
        """The server has refused a request for now; returns for how many seconds it gets none.

        Refusals of requests that were on the way at the same time count once."""
        with self._changed:
            gate = self._gates.setdefault(origin, _Gate(0.0))
            gate.refusals = gate.refusals + 1 if is_probe else max(gate.refusals, 1)
            if is_probe:
                gate.probing = False
            pause = retry_after
            if pause is None:
                pause = min(LONGEST_PAUSE, 2.0 ** (gate.refusals - 1)) * random.uniform(0.75, 1.25)
            gate.until = max(gate.until, self._clock() + pause)
            self._note()
            self._changed.notify_all()
            return pause

    def free(self, origin: str) -> None:
        """The server has accepted the request that finds out. One that was sent before it became busy says nothing."""
        with self._changed:
            if self._gates.pop(origin, None):
                self._note()
                self._changed.notify_all()

    def unknown(self, origin: str) -> None:
        """That request has ended without an answer: another may find out."""
        with self._changed:
            if gate := self._gates.get(origin):
                gate.probing = False
                self._changed.notify_all()

    def _note(self) -> None:
        if self._file:
            with contextlib.suppress(OSError):  # such as a full disk, which has its own sentence
                self._file.write_text(json.dumps({origin: gate.until for origin, gate in self._gates.items()}))

    def _too_long(self, origin: str, left: float) -> FetchError:
        return FetchError(
            Reason.FAILED,
            f"{origin} limits the number of requests, and wants none for the next {left:,.0f} s.",
            "Wait, use a token or a mirror with a higher limit, or raise --give-up-after.",
        )
