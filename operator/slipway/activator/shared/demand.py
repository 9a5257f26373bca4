"""What is wanted of each deployment right now: kept in memory, and watched by those who pass it on.

No I/O and no clock in here. One event loop owns a `Demand`; it is not for use from several threads.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from slipway.activator.shared.model_key import ModelKey


class ModelDemand(NamedTuple):
    """What one deployment needs: a replica at all (`active`), and how many (`requests` per `target_per_replica`)."""

    active: bool
    waiting: int  # requests that no replica has
    target_per_replica: float
    running: float = 0.0  # requests that replicas have

    @property
    def requests(self) -> float:
        return self.waiting + self.running


class UnknownModelError(LookupError):
    """Nothing is known of this deployment, which is not the same as nothing being wanted of it."""

    def __init__(self, deployment: ModelKey) -> None:
        super().__init__(f"No demand is known for {deployment}; the activator does not serve it (yet).")


@dataclass(eq=False, slots=True)
class _DemandVersion:
    """One state of a deployment."""

    wanted: ModelDemand
    _superseded: asyncio.Event | None = None  # nearly always, nobody waits for it

    async def until_superseded(self) -> None:
        self._superseded = self._superseded or asyncio.Event()
        await self._superseded.wait()

    def supersede(self) -> None:
        if self._superseded:
            self._superseded.set()


DemandListener = Callable[[ModelKey, ModelDemand | None], None]


class Demand:
    def __init__(self) -> None:
        self._newest: dict[ModelKey, _DemandVersion] = {}
        self._arrival = asyncio.Event()  # of a deployment that was not known
        self._listeners: list[DemandListener] = []

    def __iter__(self) -> Iterator[ModelKey]:
        return iter(self._newest)

    def items(self) -> Iterator[tuple[ModelKey, ModelDemand]]:
        return ((deployment, version.wanted) for deployment, version in self._newest.items())

    def of(self, deployment: ModelKey) -> ModelDemand:
        return self._version(deployment).wanted

    def report(self, deployment: ModelKey, wanted: ModelDemand) -> None:
        """Replaces what is known of the deployment, and wakes whoever waits for a change."""
        before = self._newest.get(deployment)
        if before and before.wanted == wanted:
            return
        _check(wanted)
        self._newest[deployment] = _DemandVersion(wanted)
        if before:
            before.supersede()
        else:
            self._arrival.set()
            self._arrival = asyncio.Event()
        self._notify(deployment, wanted)

    def forget(self, deployment: ModelKey) -> None:
        """Makes the deployment unknown; those who wait for a change of it get UnknownDeploymentError."""
        if before := self._newest.pop(deployment, None):
            before.supersede()
            self._notify(deployment, None)

    def listen(self, listener: DemandListener) -> Callable[[], None]:
        """Calls back at each change (None: it is not known any more); returns how to stop."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def until_known(self, deployment: ModelKey) -> ModelDemand:
        while deployment not in self._newest:
            await self._arrival.wait()
        return self.of(deployment)

    async def until(self, deployment: ModelKey, condition: Callable[[ModelDemand], bool]) -> ModelDemand:
        """The newest state, as soon as it meets the condition. States that were superseded meanwhile are skipped."""
        while not condition((version := self._version(deployment)).wanted):
            await version.until_superseded()
        return version.wanted

    def _notify(self, deployment: ModelKey, wanted: ModelDemand | None) -> None:
        for listener in list(self._listeners):
            listener(deployment, wanted)

    def _version(self, deployment: ModelKey) -> _DemandVersion:
        try:
            return self._newest[deployment]
        except KeyError:
            raise UnknownModelError(deployment) from None


def _check(wanted: ModelDemand) -> None:
    if wanted.waiting < 0:
        raise ValueError(f"{wanted.waiting} requests cannot be waiting")
    if not wanted.target_per_replica > 0:
        raise ValueError(f"a replica cannot be meant for {wanted.target_per_replica} requests")
