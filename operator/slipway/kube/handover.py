"""Hands calls from other threads over to the event loop: in the order in which they were put, a few at a time.

One callback for each call would be simpler, but asyncio runs all callbacks that have piled up in one step, and serves
nothing else meanwhile. How many those are is up to a tenant, who may create or change many objects in a moment.
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

LONGEST_PORTION = 0.002  # seconds, after which the loop serves others; the call that runs then is completed


class Handover:
    """Belongs to the event loop in which it was constructed."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._loop, self._clock = asyncio.get_running_loop(), clock
        self._waiting: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._is_due = False  # the next portion
        self._lock = threading.Lock()

    def put(self, call: Callable[..., object], *arguments: Any) -> None:
        """From any thread. The call is dropped if the loop has ended."""
        with self._lock:
            self._waiting.append((call, arguments))
            was_due, self._is_due = self._is_due, True
        if not was_due:
            soon(self._loop, self._take_some)

    async def all_taken(self) -> None:
        """Waits for all calls that were put until now."""
        taken = asyncio.Event()
        self.put(taken.set)
        await taken.wait()

    def _take_some(self) -> None:
        """The loop logs a call that fails, as it would log a callback, and the next ones still run."""
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
    """Calls it in the loop's own thread; drops it if the loop has ended."""
    try:
        loop.call_soon_threadsafe(call, *arguments)
    except RuntimeError:
        logger.debug("An event arrived after the end")
