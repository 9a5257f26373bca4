"""How many requests to pods wait for a response at a time: no namespace may delay the others for long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

AT_ONCE, OF_A_NAMESPACE = 32, 4


class Rooms:
    def __init__(self) -> None:
        self._room = asyncio.Semaphore(AT_ONCE)
        self._rooms: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def room(self, namespace: str) -> AsyncIterator[None]:
        """Waits for one."""
        own = self._rooms.setdefault(namespace, asyncio.Semaphore(OF_A_NAMESPACE))
        async with own, self._room:
            yield
