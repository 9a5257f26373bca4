"""Waits for what can't be watched."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def until(holds: Callable[[], Awaitable[bool]], *, timeout: float = 60) -> None:
    """Polls, for what sends no event: kube-proxy's rules, NetworkPolicies and rights that have taken effect.

    Objects of the API server are to be watched instead: `Kube.wait_for`.
    """
    async with asyncio.timeout(timeout):
        while not await holds():  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.1)
