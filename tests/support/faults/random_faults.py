"""Troubles for a soak: faults of the paths, and of the processes. Each is drawn, begun, and over some seconds later."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

from slipway_devcluster.cluster import Cluster

from support.faults import components
from support.faults import replicas as trials
from support.faults.api_faults import (
    Cuts,
    CutsShort,
    Delays,
    Expires,
    Fault,
    Hangs,
    LosesAnswers,
    Refuses,
    but_the_lease,
    reads,
    writes,
)
from support.faults.replicas import Replica

Trouble = AbstractAsyncContextManager[None]
CODES = (429, 500, 502, 503, 504)


@dataclass
class RandomFaults:
    """What it does is drawn from `chance`."""

    node: Cluster
    replicas: list[Replica]
    chance: random.Random
    _deck: list[Callable[[], Trouble]] = field(default_factory=list)

    def draw(self) -> tuple[str, Trouble]:
        """What it is, and a block for as long as it lasts. None comes again before each has come."""
        if not self._deck:
            self._deck = [self.faults, self.faults, self.faults, self.crash, self.stop, self.roll, self.restart]
            self.chance.shuffle(self._deck)
        kind = self._deck.pop()
        return kind.__name__, kind()

    @asynccontextmanager
    async def faults(self) -> AsyncGenerator[None]:
        """One or two on the path of one replica, with its watches cut or not."""
        path = self._one().path
        with path.broken_by(*(self._fault() for _ in range(self.chance.randint(1, 2)))):
            if self.chance.random() < 0.5:
                path.cut_watches()
            yield

    @asynccontextmanager
    async def crash(self) -> AsyncGenerator[None]:
        async with self._ended(signal.SIGKILL):
            yield

    @asynccontextmanager
    async def roll(self) -> AsyncGenerator[None]:
        async with self._ended(signal.SIGTERM):
            yield

    @asynccontextmanager
    async def stop(self) -> AsyncGenerator[None]:
        """For long enough to lose the Lease, or not."""
        operator = self._one().operator
        operator.send(signal.SIGSTOP)
        try:
            await asyncio.sleep(self.chance.uniform(0, 15))
            yield
        finally:
            operator.send(signal.SIGCONT)

    @asynccontextmanager
    async def restart(self) -> AsyncGenerator[None]:
        """Of the API server; it is back when the block begins."""
        async with components.without(self.node, "kube-apiserver", killed=True):
            await asyncio.sleep(self.chance.uniform(0, 5))
        yield

    # --- what is drawn ----------------------------------------------------------------------------------------------

    def _one(self) -> Replica:
        """The leader more often than not: what befalls a standby troubles nobody."""
        holder = trials.terms([each.path for each in self.replicas])[-1].holder
        leader = next(each for each in self.replicas if each.path.name == holder)
        return leader if self.chance.random() < 0.7 else self.chance.choice(self.replicas)

    def _fault(self) -> Fault:
        """Any but deaf watches: to find these out takes minutes, in which nothing else would be tried."""
        rate, chance = self.chance.uniform(0.2, 0.9), random.Random(self.chance.random())
        return self.chance.choice(
            [
                Refuses(code=self.chance.choice(CODES), rate=rate, chance=chance),
                Refuses(code=429, retry_after=self.chance.randint(1, 3), on=but_the_lease, rate=rate, chance=chance),
                Delays(seconds=self.chance.uniform(0.1, 3), rate=rate, chance=chance),
                Hangs(rate=rate, chance=chance),
                Cuts(rate=rate, chance=chance),
                LosesAnswers(on=writes, rate=rate, chance=chance),
                CutsShort(on=reads, rate=rate, chance=chance),
                Expires(rate=rate, chance=chance),
            ]
        )

    @asynccontextmanager
    async def _ended(self, number: signal.Signals) -> AsyncGenerator[None]:
        operator = self._one().operator
        operator.send(number)
        await asyncio.to_thread(operator.ended)
        try:
            yield
        finally:
            await asyncio.to_thread(operator.restart, leads=False)
