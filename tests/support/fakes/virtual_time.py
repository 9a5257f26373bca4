"""An event loop whose clock jumps to the next event, so that tests of hours take milliseconds."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """For code without input and output of its own."""

    def __init__(self) -> None:
        super().__init__(_Jumping(self))
        self.now = 1000.0

    def time(self) -> float:
        return self.now


class _Jumping(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise AssertionError("all tasks are waiting, and no timer is left")
        self._loop.now += max(timeout, 0.0)
        return super().select(0)


def run(test: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(test)


def now() -> float:
    return asyncio.get_running_loop().time()
