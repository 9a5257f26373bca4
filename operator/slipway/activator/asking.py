"""A task for each replica that is asked something again and again, for as long as that replica is followed."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

import aiohttp

from slipway.activator.demand import Deployment


@dataclass(frozen=True)
class Target:
    """One replica."""

    deployment: Deployment
    uid: str  # of its pod
    host: str
    port: int  # where it can be asked
    container: str = ""  # which start of its engine, where that matters

    def url(self, port: int, path: str) -> str:
        where = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{where}:{port}{path}"


class Asking(ABC):
    """`follow` says whom to ask."""

    def __init__(self, timeout: aiohttp.ClientTimeout) -> None:
        self._timeout = timeout
        self._tasks: dict[Target, asyncio.Task[None]] = {}
        self._session: aiohttp.ClientSession | None = None

    def follow(self, deployment: Deployment, targets: Iterable[Target]) -> None:
        """Those replicas of the deployment and no others."""
        wanted = set(targets)
        for target in [each for each in self._tasks if each.deployment == deployment and each not in wanted]:
            self._tasks.pop(target).cancel()
        for target in wanted - self._tasks.keys():
            self._tasks[target] = asyncio.create_task(self._ask(target), name=f"{type(self).__name__} {target.host}")

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session:
            await self._session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        """One connection to each replica, however many there are: some are kept waiting for an answer."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, connector=aiohttp.TCPConnector(limit=0))
        return self._session

    @abstractmethod
    async def _ask(self, target: Target) -> None:
        """Until it is cancelled, or all that can be asked is known."""
