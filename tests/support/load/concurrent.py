"""Many requests at the same time, and the outcome of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp

from support.load.completions import Completion, RefusedError


@dataclass(frozen=True)
class Outcome:
    """One request: its HTTP status (0: no response), how long it took, and the text or the error."""

    status: int
    seconds: float
    text: str

    @property
    def answered(self) -> bool:
        return self.status == 200


async def run(
    ask: Callable[[int], Awaitable[Completion]], *, requests: int, at_once: int, timeout: float = 120
) -> list[Outcome]:
    """Sends the requests, `at_once` at a time; `ask` gets the number of its request. A request that fails raises
    nothing."""
    slots = asyncio.Semaphore(at_once)

    async def one(number: int) -> Outcome:
        async with slots:
            return await _outcome(ask(number), timeout)

    return await asyncio.gather(*(one(number) for number in range(requests)))


async def _outcome(request: Awaitable[Completion], timeout: float) -> Outcome:
    started = time.monotonic()
    try:
        async with asyncio.timeout(timeout):
            status, text = 200, (await request).text
    except RefusedError as refusal:
        status, text = refusal.status, str(refusal)
    except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
        status, text = 0, repr(error)
    return Outcome(status, time.monotonic() - started, text)
