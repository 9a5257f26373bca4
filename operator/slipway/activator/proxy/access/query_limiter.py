"""Limits the queries to the API server: so many a second and so many at a time, shared fairly by all that cause them.

Each query is made for a holder, and turns rotate among holders. So a holder with hundreds of queries delays another
one by one turn, and not by hundreds. A query that can't be made yet waits for its turn, a while.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager, suppress

from slipway.activator.proxy.access.token_bucket import TokenBucket

WAITING = 250  # queries of one holder
SHORTEST_PAUSE = 0.001  # seconds: the rest of a wait may be too short for the clock to advance


class QueryLimitError(Exception):
    """There are too many queries of this holder."""


class QueryLimiter:
    """`clock` is the event loop's."""

    def __init__(self, per_second: float, burst: int, *, at_once: int, clock: Callable[[], float]) -> None:
        self._bucket, self._free, self._clock = TokenBucket(per_second, burst), at_once, clock
        self._waiting: OrderedDict[Hashable, deque[asyncio.Future[None]]] = OrderedDict()  # the next holder first
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a query would have to wait."""
        return bool(self._waiting) or not self._free or self._bucket.wait(self._clock()) > 0

    @asynccontextmanager
    async def turn(self, holder: Hashable, *, until: float) -> AsyncIterator[None]:
        """QueryLimitError if there is no turn by then, or if too many queries of this holder wait already."""
        await self._wait_for_turn(holder, until)
        try:
            yield
        finally:
            self._free += 1
            self._grant()

    async def _wait_for_turn(self, holder: Hashable, until: float) -> None:
        queries = self._waiting.setdefault(holder, deque())
        if len(queries) >= WAITING:
            raise QueryLimitError
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queries.append(turn)
        self._grant()
        try:
            async with asyncio.timeout(until - self._clock()):
                await asyncio.shield(turn)
        except TimeoutError:
            if not self._withdraw(holder, turn):
                return  # it was granted in the last moment
            raise QueryLimitError from None
        except BaseException:
            if not self._withdraw(holder, turn):
                self._free += 1
                self._grant()
            raise

    def _withdraw(self, holder: Hashable, turn: asyncio.Future[None]) -> bool:
        """Returns False if the turn was granted already."""
        if turn.done():
            return False
        with suppress(KeyError, ValueError):
            self._waiting[holder].remove(turn)
            if not self._waiting[holder]:
                del self._waiting[holder]
        return True

    def _grant(self) -> None:
        now = self._clock()
        while self._waiting and self._free and self._bucket.take(now):
            holder, queries = next(iter(self._waiting.items()))
            queries.popleft().set_result(None)
            self._free -= 1
            if queries:
                self._waiting.move_to_end(holder)
            else:
                del self._waiting[holder]
        if self._waiting and self._free and self._timer is None:
            pause = max(self._bucket.wait(now), SHORTEST_PAUSE)
            self._timer = asyncio.get_running_loop().call_later(pause, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._grant()
