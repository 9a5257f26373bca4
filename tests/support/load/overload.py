"""More requests than a model can serve at a time, while a block of a test lasts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import aiohttp

from support.load.completions import RefusedError, complete


@asynccontextmanager
async def overload(session: aiohttp.ClientSession, url: str, *, at_once: int, tokens: int = 32) -> AsyncGenerator[None]:
    """Sends streamed requests, each after the response to the one before. Those in flight are cancelled at the end."""

    async def ask(number: int) -> None:
        while True:
            with suppress(RefusedError, aiohttp.ClientError):
                await complete(session, url, f"{number} is a number, and", max_tokens=tokens)
            await asyncio.sleep(0.05)

    tasks = [asyncio.create_task(ask(number)) for number in range(at_once)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
