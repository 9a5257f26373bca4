"""Memory that was used for large requests goes back to the system when they have ended.

The C library keeps what is freed, in arenas that threads have of their own. Of a request of 4 MiB, 132 MiB stayed,
in whichever thread had read it.
"""

from __future__ import annotations

import asyncio
import ctypes
from concurrent.futures import ThreadPoolExecutor

MUCH = 8 << 20  # bytes that a request takes
AFTER = 0.5  # seconds: llama.cpp is done with a request a little later than with its answer


class Heap:
    def __init__(self) -> None:
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        """glibc's; others keep less."""
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="heap")
        self._coming: asyncio.TimerHandle | None = None

    def used(self, size: int) -> None:
        """By a request that has ended."""
        if size >= MUCH and self._trim and self._coming is None:
            self._coming = asyncio.get_running_loop().call_later(AFTER, self._give_back)

    def _give_back(self) -> None:
        """In a thread: it takes some milliseconds, in which Python's lock is free."""
        self._coming = None
        assert self._trim
        self._threads.submit(self._trim, 0)
