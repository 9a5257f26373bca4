"""What other threads have the event loop do: in the order in which it came, a little at a time.

One callback for each would be simpler; but asyncio runs all that have piled up in one step, and nobody else has a turn
meanwhile. Who makes many objects at once, or changes them again and again, decides how many that are.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

logger = logging.getLogger(__name__)

LONGEST_PORTION = 0.002  # seconds, after which others have a turn; the call that is being made then is the last one


class Arrivals:
    """Belongs to the event loop in which it was made."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._loop, self._clock = asyncio.get_running_loop(), clock
        self._waiting: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._is_due = False  # the next portion
        self._lock = threading.Lock()

    def put(self, call: Callable[..., object], *arguments: Any) -> None:
        """From any thread. Nothing comes of it if the loop has ended."""
        with self._lock:
            self._waiting.append((call, arguments))
            was_due, self._is_due = self._is_due, True
        if not was_due:
            soon(self._loop, self._take_some)

    async def all_taken(self) -> None:
        """All that has come until now."""
        taken = asyncio.Event()
        self.put(taken.set)
        await taken.wait()

    def _take_some(self) -> None:
        """One that fails is told by the loop, as a callback of its own would be, and the others go on."""
        end = self._clock() + LONGEST_PORTION
        try:
            while self._waiting:
                call, arguments = self._waiting.popleft()
                call(*arguments)
                if self._clock() >= end:
                    break
        finally:
            with self._lock:
                self._is_due = bool(self._waiting)
            if self._is_due:
                self._loop.call_soon(self._take_some)


def soon(loop: asyncio.AbstractEventLoop, call: Callable[..., object], *arguments: Any) -> None:
    """In the loop's own thread; nothing, if the loop has ended."""
    try:
        loop.call_soon_threadsafe(call, *arguments)
    except RuntimeError:
        logger.debug("an event came after the end")
