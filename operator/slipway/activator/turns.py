"""Work that is done in steps, so that the event loop serves others between any two of them."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")

_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


async def in_steps(work: Generator[None, None, T]) -> T:
    """What comes out of it. One such work is done at a time, or others would wait for a step of each."""
    async with _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        while True:
            try:
                next(work)
            except StopIteration as end:
                outcome: T = end.value
                return outcome
            await asyncio.sleep(0)
