"""Clients that ask again and again while a block of a test lasts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from support.programs.vllm_pod import VllmPod


@asynccontextmanager
async def clients(ask: Callable[[int], Awaitable[object]], *, at_once: int) -> AsyncGenerator[None]:
    """`ask` gets the number of its client, and is called again when it returns. Those in flight are cancelled at the
    end; a client that gives up, because `ask` raises, fails the test."""

    async def ask_on(number: int) -> None:
        while True:
            await ask(number)

    tasks = [asyncio.create_task(ask_on(number)) for number in range(at_once)]
    try:
        yield
    finally:
        ended = [task for task in tasks if task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert not ended, f"a client gave up: {ended[0].exception()!r}"


@asynccontextmanager
async def clients_of(pod: VllmPod, *, at_once: int, prompt: Callable[[], str], **body: Any) -> AsyncGenerator[None]:
    """Their requests end only when all tokens are computed."""

    async def ask(_: int) -> None:
        async with await pod.completion(prompt=prompt(), ignore_eos=True, **body) as answer:
            assert answer.status == 200, await answer.text()
            await answer.read()

    async with clients(ask, at_once=at_once):
        yield
