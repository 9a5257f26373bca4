"""The demand for each model now: kept in memory, and watched by those who pass it on.

It does no I/O and reads no clock. One event loop owns a `Demand`; it must not be used from several threads.
"""

import asyncio
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from slipway.activator.shared.by_times import ByTimes
from slipway.api.model_key import ModelKey


class ModelDemand(NamedTuple):
    """What one model needs: a replica at all (`active`), and how many: `requests` per `target_per_replica`, or
    `replicas` where they follow times."""

    active: bool
    waiting: int  # requests that no replica has
    target_per_replica: float
    running: float = 0.0  # requests that replicas have
    by_times: ByTimes | None = None

    @property
    def requests(self) -> float:
        return self.waiting + self.running

    @property
    def replicas(self) -> float:
        """At most twice as many as there are, where times say nothing."""
        by_requests = self.requests / self.target_per_replica
        if self.by_times is None:
            return by_requests
        number = self.by_times.replicas
        return max(number, min(math.ceil(by_requests), 2 * max(1, number))) if self.by_times.by_requests else number


class UnknownModelError(LookupError):
    """Nothing is known of this model, which is not the same as no demand for it."""

    def __init__(self, key: ModelKey) -> None:
        super().__init__(f"The demand for {key} is not known: the activator does not serve it (yet).")


@dataclass(eq=False, slots=True)
class _DemandVersion:
    """The demand for one model, until it changes."""

    demand: ModelDemand
    _superseded: asyncio.Event | None = None  # made when something waits for it, which is rare

    async def until_superseded(self) -> None:
        self._superseded = self._superseded or asyncio.Event()
        await self._superseded.wait()

    def supersede(self) -> None:
        if self._superseded:
            self._superseded.set()


DemandListener = Callable[[ModelKey, ModelDemand | None], None]


class Demand:
    """The demand for all models."""

    def __init__(self) -> None:
        self._newest: dict[ModelKey, _DemandVersion] = {}
        self._arrival = asyncio.Event()  # of a model that was not known
        self._listeners: list[DemandListener] = []

    def __iter__(self) -> Iterator[ModelKey]:
        return iter(self._newest)

    def items(self) -> Iterator[tuple[ModelKey, ModelDemand]]:
        return ((key, version.demand) for key, version in self._newest.items())

    def of(self, key: ModelKey) -> ModelDemand:
        return self._version(key).demand

    def report(self, key: ModelKey, demand: ModelDemand) -> None:
        """Replaces what is known of the model, and notifies those who wait for a change."""
        before = self._newest.get(key)
        if before and before.demand == demand:
            return
        _check(demand)
        self._newest[key] = _DemandVersion(demand)
        if before:
            before.supersede()
        else:
            self._arrival.set()
            self._arrival = asyncio.Event()
        self._notify(key, demand)

    def forget(self, key: ModelKey) -> None:
        """Makes the model unknown; those who wait for a change of it get UnknownModelError."""
        if before := self._newest.pop(key, None):
            before.supersede()
            self._notify(key, None)

    def listen(self, listener: DemandListener) -> Callable[[], None]:
        """Calls back at each change (None: the model isn't known any longer); returns how to stop."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def until_known(self, key: ModelKey) -> ModelDemand:
        while key not in self._newest:
            await self._arrival.wait()
        return self.of(key)

    async def until(self, key: ModelKey, condition: Callable[[ModelDemand], bool]) -> ModelDemand:
        """The newest demand, as soon as it meets the condition. Demands that were superseded meanwhile are skipped."""
        while not condition((version := self._version(key)).demand):
            await version.until_superseded()
        return version.demand

    def _notify(self, key: ModelKey, demand: ModelDemand | None) -> None:
        for listener in list(self._listeners):
            listener(key, demand)

    def _version(self, key: ModelKey) -> _DemandVersion:
        try:
            return self._newest[key]
        except KeyError:
            raise UnknownModelError(key) from None


def _check(demand: ModelDemand) -> None:
    if demand.waiting < 0:
        raise ValueError(f"{demand.waiting} requests cannot be waiting")
    if not demand.target_per_replica > 0:
        raise ValueError(f"a replica cannot be meant for {demand.target_per_replica} requests")
