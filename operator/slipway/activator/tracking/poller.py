"""A task for each replica that is polled, while that replica is followed."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from slipway.activator.http1 import fetch
from slipway.activator.tracking.histograms import Times
from slipway.api.engine_notes import USUAL, Exposition
from slipway.api.model_key import ModelKey

logger = logging.getLogger(__name__)

AT_ONCE, PAUSE = 16, 0.005  # of the new replicas of one model, so many tasks start together; the next after a pause
AFTER_AN_ERROR = 1.0  # seconds until a replica is polled again whose response caused an error here


@dataclass(frozen=True)
class PollTarget:
    """One replica."""

    key: ModelKey
    uid: str  # of its pod
    host: str
    port: int
    container: str = ""  # which start of its engine, where that matters
    path: str = ""  # of the request, where it isn't the same for all
    metrics: Exposition = USUAL
    times: Times = ()  # histograms to read there, too


class Poller(ABC):
    """`follow` says which replicas to poll; `timeout`: seconds for one response."""

    def __init__(self, *, timeout: float) -> None:
        self._timeout = timeout
        self._tasks: dict[ModelKey, dict[PollTarget, asyncio.Task[None]]] = {}

    def follow(self, key: ModelKey, targets: Iterable[PollTarget]) -> None:
        """These replicas of the model and no others."""
        wanted, tasks = set(targets), self._tasks.get(key, {})
        for target in tasks.keys() - wanted:
            tasks.pop(target).cancel()
        for number, target in enumerate(wanted - tasks.keys()):
            tasks[target] = asyncio.create_task(
                self._keep_polling(target, after=number // AT_ONCE * PAUSE), name=f"{type(self).__name__} {target.host}"
            )
        if tasks:
            self._tasks[key] = tasks
        else:
            self._tasks.pop(key, None)

    async def close(self) -> None:
        tasks = [task for of_model in self._tasks.values() for task in of_model.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def get(
        self, target: PollTarget, port: int, path: str, *, take: Callable[[bytes], bool] = lambda piece: False
    ) -> int | None:
        """The status of its response; None if there is none in time."""
        try:
            async with asyncio.timeout(self._timeout):
                return await fetch.get(target.host, port, path, take=take)
        except TimeoutError:
            return None

    async def _keep_polling(self, target: PollTarget, *, after: float) -> None:
        """A response that causes an error here isn't the last one."""
        if after:
            await asyncio.sleep(after)
        is_logged = False
        while True:
            try:
                await self._poll(target)
            except Exception:
                if not is_logged:
                    logger.exception("The response of the replica at %s caused a bug in the activator", target.host)
                is_logged = True
                await asyncio.sleep(AFTER_AN_ERROR)
            else:
                return

    @abstractmethod
    async def _poll(self, target: PollTarget) -> None:
        """Returns when all is known that can be learnt; otherwise, it is cancelled."""
