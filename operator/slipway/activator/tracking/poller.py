"""A task for each replica that is asked something again and again, for as long as that replica is followed."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from slipway.activator.http1 import fetch
from slipway.activator.shared.model_key import ModelKey
from slipway.api.engine_notes import USUAL, Exposition

log = logging.getLogger(__name__)

AT_ONCE, PAUSE = 16, 0.005  # of those of one deployment that are new, so many begin to be asked; then after a pause
AFTER_AN_ERROR = 1.0  # seconds until a replica is asked again whose answer we had an error with


@dataclass(frozen=True)
class PollTarget:
    """One replica."""

    deployment: ModelKey
    uid: str  # of its pod
    host: str
    port: int  # where it can be asked
    container: str = ""  # which start of its engine, where that matters
    path: str = ""  # what is asked, where that isn't the same for all
    metrics: Exposition = USUAL


class Poller(ABC):
    """`follow` says whom to ask; `timeout`: seconds for one answer."""

    def __init__(self, *, timeout: float) -> None:
        self._timeout = timeout
        self._tasks: dict[ModelKey, dict[PollTarget, asyncio.Task[None]]] = {}

    def follow(self, deployment: ModelKey, targets: Iterable[PollTarget]) -> None:
        """Those replicas of the deployment and no others."""
        wanted, tasks = set(targets), self._tasks.get(deployment, {})
        for target in tasks.keys() - wanted:
            tasks.pop(target).cancel()
        for number, target in enumerate(wanted - tasks.keys()):
            tasks[target] = asyncio.create_task(
                self._keep_asking(target, after=number // AT_ONCE * PAUSE), name=f"{type(self).__name__} {target.host}"
            )
        if tasks:
            self._tasks[deployment] = tasks
        else:
            self._tasks.pop(deployment, None)

    async def close(self) -> None:
        tasks = [task for theirs in self._tasks.values() for task in theirs.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def ask(
        self, target: PollTarget, port: int, path: str, *, take: Callable[[bytes], bool] = lambda piece: False
    ) -> int | None:
        """The status that it answers with, in time; None if it doesn't."""
        try:
            async with asyncio.timeout(self._timeout):
                return await fetch.get(target.host, port, path, take=take)
        except TimeoutError:
            return None

    async def _keep_asking(self, target: PollTarget, *, after: float) -> None:
        """Whatever an answer leads to, it isn't the last one."""
        if after:
            await asyncio.sleep(after)
        complained = False
        while True:
            try:
                await self._ask(target)
            except Exception:
                if not complained:
                    log.exception("An error of the activator's own with what %s says", target.host)
                complained = True
                await asyncio.sleep(AFTER_AN_ERROR)
            else:
                return

    @abstractmethod
    async def _ask(self, target: PollTarget) -> None:
        """Until it is cancelled, or all that can be asked is known."""
