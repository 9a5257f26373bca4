"""Asks the engines of ready replicas for their metrics, again and again, but none more than once a second.

The runtime's own port is asked first; where there is none, the engine itself is.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import aiohttp

from slipway.activator.activity import Reading, read
from slipway.activator.demand import Deployment
from slipway.api.names import RUNTIME_PORT

log = logging.getLogger(__name__)

EVERY = (1.0, 2.0)  # seconds between two questions to one replica: at least and at most
TIMEOUT = 3.0
LARGEST = 4 << 20  # bytes of metrics that are read; the rest is not looked at

Hear = Callable[[Deployment, str, Reading], None]


@dataclass(frozen=True)
class Target:
    """One ready replica."""

    deployment: Deployment
    uid: str  # of its pod
    host: str
    port: int  # the engine's


class Scraping:
    """`hear` gets each reading. `follow` says whom to ask."""

    def __init__(self, hear: Hear) -> None:
        self._hear = hear
        self._tasks: dict[Target, asyncio.Task[None]] = {}
        self._session: aiohttp.ClientSession | None = None

    def follow(self, deployment: Deployment, targets: Mapping[str, Target]) -> None:
        """Those replicas of the deployment and no others; by uid."""
        wanted = set(targets.values())
        for target in [each for each in self._tasks if each.deployment == deployment and each not in wanted]:
            self._tasks.pop(target).cancel()
        for target in wanted - self._tasks.keys():
            self._tasks[target] = asyncio.create_task(self._keep_asking(target), name=f"metrics {target.host}")

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session:
            await self._session.close()

    async def _keep_asking(self, target: Target) -> None:
        ports = [RUNTIME_PORT, target.port]
        complained = False
        while True:
            reading = await self._reading(target.host, ports[0])
            if reading:
                self._hear(target.deployment, target.uid, reading)
            else:
                ports.reverse()
                complained = complained or self._complain(target)
            await asyncio.sleep(random.uniform(*EVERY))

    async def _reading(self, host: str, port: int) -> Reading | None:
        self._session = self._session or aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT))
        where = f"[{host}]" if ":" in host else host
        try:
            async with self._session.get(f"http://{where}:{port}/metrics") as answer:
                return read(await _text(answer)) if answer.status == 200 else None
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None

    def _complain(self, target: Target) -> bool:
        log.info(
            "No metrics come from the replica at %s yet; until they do, it counts as used",
            target.host,
            extra={"key": str(target.deployment)},
        )
        return True


async def _text(answer: aiohttp.ClientResponse) -> str:
    data = bytearray()
    async for piece in answer.content.iter_chunked(64 * 1024):
        data += piece
        if len(data) > LARGEST:
            break
    return data.decode(errors="replace")
