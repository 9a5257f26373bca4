"""When Python collects garbage: not while many clients would have to wait for it.

A collection of all objects that have lived for a while takes longer the more requests are held: up to 150 ms of a
processor with 3,000 of them, and one started whenever there were a quarter more. Connections and requests leave no
garbage behind (`tests/unit/activator/test_garbage_collection.py`). So only young objects are collected all the time,
and the others while there are few clients; or, if there are never few, once an hour.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

YOUNG = (700, 5)  # new objects, and collections of them, after which there is another: usually a millisecond or two
NEVER = (1 << 31) - 1
EVERY = 60.0  # seconds between two checks whether there are few clients
FEW = 100  # connections
LATEST = 3600.0  # seconds


def collect_young_objects_only() -> None:
    """From now on, Python collects nothing else on its own, in the entire process."""
    gc.set_threshold(*YOUNG, NEVER)


async def collect_when_quiet(connections: Callable[[], int], collect: Callable[[], object] = gc.collect) -> None:
    """Collects all garbage when few clients would have to wait for it."""
    clock = asyncio.get_running_loop().time
    last = clock()
    while True:
        await asyncio.sleep(EVERY)
        if connections() < FEW or clock() - last >= LATEST:
            collect()
            last = clock()
