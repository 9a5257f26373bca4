"""A steady flow of requests, one after the other, while something else happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from support.load.sleeping_models import TRY_AGAIN_AFTER, Request, SleepingModel

AT_ONCE = 2


@asynccontextmanager
async def steady_requests(sleeper: SleepingModel) -> AsyncGenerator[list[Request]]:
    """Sends requests while the block lasts, and waits for the last ones. None is retried."""
    requests: list[Request] = []
    is_over = asyncio.Event()

    async def ask(number: int) -> None:
        while not is_over.is_set():
            request = sleeper.request(number)
            requests.append(request)
            await request.run(sleeper.session)
            if request.error:
                await asyncio.sleep(TRY_AGAIN_AFTER)  # the other requests show whether all fail
            number += AT_ONCE

    tasks = [asyncio.create_task(ask(number)) for number in range(AT_ONCE)]
    try:
        yield requests
    finally:
        is_over.set()
        await asyncio.gather(*tasks)
