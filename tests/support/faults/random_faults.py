"""Random faults for a soak, of requests and of processes. Each is drawn, started, and ended some seconds later."""

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
    """Draws faults from `chance`."""

    node: Cluster
    replicas: list[Replica]
    chance: random.Random
    _deck: list[Callable[[], Trouble]] = field(default_factory=list)

    def draw(self) -> tuple[str, Trouble]:
        """Returns the name of a fault, and a block during which it lasts. Every kind is drawn before any is
        repeated."""
        if not self._deck:
            self._deck = [self.faults, self.faults, self.faults, self.crash, self.stop, self.roll, self.restart]
            self.chance.shuffle(self._deck)
        kind = self._deck.pop()
        return kind.__name__, kind()

    @asynccontextmanager
    async def faults(self) -> AsyncGenerator[None]:
        """Causes one or two faults of one replica's requests, and maybe cuts its watches."""
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
        """Suspends an operator, for long enough to lose the Lease, or not."""
        operator = self._one().operator
        operator.send(signal.SIGSTOP)
        try:
            await asyncio.sleep(self.chance.uniform(0, 15))
            yield
        finally:
            operator.send(signal.SIGCONT)

    @asynccontextmanager
    async def restart(self) -> AsyncGenerator[None]:
        """Restarts the API server; it is back when the block starts."""
        async with components.without(self.node, "kube-apiserver", killed=True):
            await asyncio.sleep(self.chance.uniform(0, 5))
        yield

    # --- what is drawn ----------------------------------------------------------------------------------------------

    def _one(self) -> Replica:
        """Chooses a replica, the leader in most cases: faults of a standby have no effect."""
        holder = trials.terms([each.path for each in self.replicas])[-1].holder
        leader = next(each for each in self.replicas if each.path.name == holder)
        return leader if self.chance.random() < 0.7 else self.chance.choice(self.replicas)

    def _fault(self) -> Fault:
        """Draws any fault except deaf watches: it takes minutes to notice those, in which nothing else would be
        tested."""
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
