"""More requests than a model can serve at a time, while a block of a test lasts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import aiohttp

from support.load.clients import clients
from support.load.completions import RefusedError, complete

TOO_MANY = (429, 503)
PAUSE = 0.2


@asynccontextmanager
async def overload(
    session: aiohttp.ClientSession, url: str, model: str, *, at_once: int, tokens: int = 32
) -> AsyncGenerator[None]:
    """Sends streamed requests, each after the response to the one before. Those in flight are cancelled at the end.

    Some may be refused for the load; all others must be answered.
    """

    async def ask(number: int) -> None:
        try:
            await complete(session, url, f"{number} is a number, and", model=model, max_tokens=tokens)
        except RefusedError as refused:
            if refused.status not in TOO_MANY:
                raise
            await asyncio.sleep(PAUSE)

    async with clients(ask, at_once=at_once):
        yield
