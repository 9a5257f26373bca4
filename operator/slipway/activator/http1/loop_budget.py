"""How much may be done between two looks of the event loop at its sockets, so that nobody has to wait for long.

Whoever has more to do than there is time for waits for a turn, in the order in which they came.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Generator
from typing import TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")

MOST = 512
"""Segments of messages that are parsed, or as much work: some two milliseconds."""


class LoopBudget:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._left = MOST
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()
        self._is_renewed = False  # soon

    @property
    def has_time(self) -> bool:
        """Whether nobody has to wait for a turn."""
        return self._left > 0 and not self._waiting

    async def turn(self, expected: int) -> None:
        """Returns when there is time for so much work, which is a guess; `spend` hears what it was."""
        if self.has_time:
            return
        turn = self._loop.create_future()
        self._waiting.append((turn, expected))
        self._renew_soon()
        await turn

    def spend(self, work: int) -> None:
        self._left -= work
        if self._left < MOST // 2:  # before that, a callback would cost more than it is good for
            self._renew_soon()

    def _renew_soon(self) -> None:
        if not self._is_renewed:
            self._is_renewed = True
            self._loop.call_soon(self._renew)

    def _renew(self) -> None:
        self._left, self._is_renewed = MOST, False
        given = 0
        while self._waiting and given < MOST:
            turn, expected = self._waiting.popleft()
            if not turn.done():  # whoever waited may have been cancelled
                turn.set_result(None)
                given += expected
        if self._waiting:
            self._renew_soon()


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, LoopBudget] = WeakKeyDictionary()


def of_this_loop() -> LoopBudget:
    loop = asyncio.get_running_loop()
    if loop not in _turns:
        _turns[loop] = LoopBudget(loop)
    return _turns[loop]


async def in_steps(work: Generator[None, None, T]) -> T:
    """What comes out of work that is done in steps, each of a millisecond or two."""
    turns = of_this_loop()
    while True:
        await turns.turn(MOST)
        turns.spend(MOST)
        try:
            next(work)
        except StopIteration as end:
            outcome: T = end.value
            return outcome
        await asyncio.sleep(0)
