"""Questions to the API server in turns: so many a second and so many at a time, of all who ask together.

Each is asked for a holder, and turns go from holder to holder. So one that has hundreds of questions delays another's
by one turn, and not by hundreds. A question for which there is no turn yet waits for it, a while.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager, suppress

from slipway.activator.proxy.access.token_bucket import TokenBucket

WAITING = 250  # questions of one holder
SHORTEST_PAUSE = 0.001  # seconds: what is left of a wait may be too little for the clock to go on


class QueryLimitError(Exception):
    """There are too many questions of this holder."""


class QueryLimiter:
    """`clock` is the event loop's."""

    def __init__(self, per_second: float, burst: int, *, at_once: int, clock: Callable[[], float]) -> None:
        self._bucket, self._free, self._clock = TokenBucket(per_second, burst), at_once, clock
        self._waiting: OrderedDict[Hashable, deque[asyncio.Future[None]]] = OrderedDict()  # whose turn is next is first
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a question would have to wait."""
        return bool(self._waiting) or not self._free or self._bucket.wait(self._clock()) > 0

    @asynccontextmanager
    async def turn(self, holder: Hashable, *, until: float) -> AsyncIterator[None]:
        """NoTurnError if it hasn't come by then, or if too many of this holder wait already."""
        await self._come(holder, until)
        try:
            yield
        finally:
            self._free += 1
            self._give()

    async def _come(self, holder: Hashable, until: float) -> None:
        theirs = self._waiting.setdefault(holder, deque())
        if len(theirs) >= WAITING:
            raise QueryLimitError
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        theirs.append(turn)
        self._give()
        try:
            async with asyncio.timeout(until - self._clock()):
                await asyncio.shield(turn)
        except TimeoutError:
            if not self._leave(holder, turn):
                return  # it came in the last moment
            raise QueryLimitError from None
        except BaseException:
            if not self._leave(holder, turn):
                self._free += 1
                self._give()
            raise

    def _leave(self, holder: Hashable, turn: asyncio.Future[None]) -> bool:
        """Whether its turn hadn't come."""
        if turn.done():
            return False
        with suppress(KeyError, ValueError):
            self._waiting[holder].remove(turn)
            if not self._waiting[holder]:
                del self._waiting[holder]
        return True

    def _give(self) -> None:
        now = self._clock()
        while self._waiting and self._free and self._bucket.take(now):
            holder, theirs = next(iter(self._waiting.items()))
            theirs.popleft().set_result(None)
            self._free -= 1
            if theirs:
                self._waiting.move_to_end(holder)
            else:
                del self._waiting[holder]
        if self._waiting and self._free and self._timer is None:
            pause = max(self._bucket.wait(now), SHORTEST_PAUSE)
            self._timer = asyncio.get_running_loop().call_later(pause, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self._give()
