"""How much work is done in one iteration of the event loop, so that no connection waits long for its turn.

Work that doesn't fit into the iteration waits for one of the next, in the order in which it was requested.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Generator
from typing import TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")

MOST = 512
"""Segments of messages that are parsed, or as much other work: some two milliseconds."""


class LoopBudget:
    """Of one event loop. It is full again in each iteration."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._left = MOST
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()
        self._is_scheduled = False  # to be filled

    @property
    def has_time(self) -> bool:
        """Whether work may be done without waiting for a turn."""
        return self._left > 0 and not self._waiting

    async def turn(self, expected: int) -> None:
        """Returns when there is time for so much work, which is a guess; `spend` gets what it was."""
        if self.has_time:
            return
        turn = self._loop.create_future()
        self._waiting.append((turn, expected))
        self._schedule()
        await turn

    def spend(self, work: int) -> None:
        self._left -= work
        if self._left < MOST // 2:  # before that, a callback would cost more than it is worth
            self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._fill)

    def _fill(self) -> None:
        self._left, self._is_scheduled = MOST, False
        granted = 0
        while self._waiting and granted < MOST:
            turn, expected = self._waiting.popleft()
            if not turn.done():  # it may have been cancelled
                turn.set_result(None)
                granted += expected
        if self._waiting:
            self._schedule()


_budgets: WeakKeyDictionary[asyncio.AbstractEventLoop, LoopBudget] = WeakKeyDictionary()


def of_this_loop() -> LoopBudget:
    loop = asyncio.get_running_loop()
    if loop not in _budgets:
        _budgets[loop] = LoopBudget(loop)
    return _budgets[loop]


async def in_steps(work: Generator[None, None, T]) -> T:
    """The result of work that is done in steps, each of a millisecond or two."""
    budget = of_this_loop()
    while True:
        await budget.turn(MOST)
        budget.spend(MOST)
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
        await asyncio.sleep(0)
