"""Returns memory that was used for large requests to the system when they have ended.

The C library keeps freed memory, in arenas that belong to threads. After a request of 4 MiB, 132 MiB stayed in the
thread that had read it.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

MUCH = 8 << 20  # bytes that a request takes
AFTER = 0.5  # seconds: llama.cpp frees a request a little after it has sent the response


class Heap:
    """The process's heap, for its life."""

    def __init__(self) -> None:
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        """glibc's; other C libraries keep less."""
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="heap")
        self._coming: asyncio.TimerHandle | None = None

    def used(self, size: int) -> None:
        """A request that took `size` bytes has ended."""
        if size >= MUCH and self._trim and self._coming is None:
            self._coming = asyncio.get_running_loop().call_later(AFTER, self._give_back, self._trim)

    def _give_back(self, trim: Callable[[int], object]) -> None:
        """Runs in a thread: it takes some milliseconds, during which Python's lock is free."""
        self._coming = None
        self._threads.submit(trim, 0)
