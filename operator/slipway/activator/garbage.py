"""When Python looks for garbage: not while many would have to wait for it.

A search among all objects that have lived for a while takes longer the more requests are held: up to 150 ms of a
processor with 3,000 of them, and one came whenever there were a quarter more. Connections and requests leave no garbage
to be searched for (`tests/unit/activator/test_garbage.py`). So only young objects are searched all the time, and the
others when few clients are there; or, if there are never few, once in an hour.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

YOUNG = (700, 5)  # new objects, and searches among them, after which there is another: usually a millisecond or two
NEVER = (1 << 31) - 1
EVERY = 60.0  # seconds between two looks whether few are there
FEW = 100  # connections
LATEST = 3600.0  # seconds


def look_among_the_young_alone() -> None:
    """By itself, from now on, in all of the process."""
    gc.set_threshold(*YOUNG, NEVER)


async def keep_looking(connections: Callable[[], int], look: Callable[[], object] = gc.collect) -> None:
    """Among all objects, when it disturbs few."""
    clock = asyncio.get_running_loop().time
    last = clock()
    while True:
        await asyncio.sleep(EVERY)
        if connections() < FEW or clock() - last >= LATEST:
            look()
            last = clock()
