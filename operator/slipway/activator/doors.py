"""Opens a port for each deployment that becomes known, and closes it at once when the deployment goes.

A port leads to one deployment. One that is told to lead to two is opened for neither: it is never a matter of who comes
first.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import AsyncIterator

from slipway.activator import open_files
from slipway.activator.demand import Demand, Deployment
from slipway.activator.deployments import Deployments, Known
from slipway.activator.doorkeeper import Doorkeeper
from slipway.activator.gate import Gate
from slipway.activator.holding import House
from slipway.activator.options import Options
from slipway.activator.pool import Idle
from slipway.activator.server import Port
from slipway.process.connection_limits import ConnectionLimits

log = logging.getLogger(__name__)

TRY_AGAIN_AFTER = 1.0  # seconds after which a port that was taken is tried again
TOLD_EVERY = 60  # tries


class Doors:
    def __init__(
        self, demand: Demand, *, house: House, options: Options, host: str | None, doorkeeper: Doorkeeper
    ) -> None:
        self._demand = demand
        self._doorkeeper = doorkeeper
        self._house = house
        self._options = options
        self._host = host
        self._crowd = ConnectionLimits(open_files.connections(options.connections))
        self._idle = Idle(open_files.idle(open_files.raised_limit()))
        self._gates: dict[Deployment, Gate] = {}
        self._ports: dict[Deployment, tuple[int, Port]] = {}
        self._claimed: dict[Deployment, int] = {}
        self._claimants: defaultdict[int, set[Deployment]] = defaultdict(set)
        self._closing: set[Port] = set()
        self._opening: dict[Deployment, asyncio.Task[None]] = {}
        self._numbers: dict[Deployment, asyncio.Future[int]] = {}
        self._is_closing = False

    def hear(self, deployment: Deployment, known: Known | None) -> None:
        if known is None:
            self._release(deployment)
            if gate := self._gates.pop(deployment, None):
                gate.close()
            return
        if gate := self._gates.get(deployment):
            gate.tell(known)
        if self._is_closing:  # those that are still held go to a replica that becomes ready
            return
        if not gate:
            self._gates[deployment] = Gate(
                known, self._house, self._demand, runbooks=self._options.runbooks, doorkeeper=self._doorkeeper
            )
        if self._claimed.get(deployment) != known.port:
            self._release(deployment)
            self._claimed[deployment] = known.port
            self._claimants[known.port].add(deployment)
            self._settle(known.port)

    async def number(self, deployment: Deployment) -> int:
        """The port's number, once it is open."""
        return await asyncio.shield(self._numbers[deployment])

    async def close(self, grace: float) -> None:
        self._is_closing = True
        for deployment in list(self._ports):
            self._shut(deployment)
        await asyncio.gather(*(port.close(grace) for port in list(self._closing)))
        for gate in self._gates.values():
            gate.close()

    # --- whose a port is ---------------------------------------------------------------------------------------------

    def _release(self, deployment: Deployment) -> None:
        self._shut(deployment)
        number = self._claimed.pop(deployment, None)
        if number is not None:
            self._claimants[number].discard(deployment)
            self._settle(number)

    def _settle(self, number: int) -> None:
        claimants = sorted(self._claimants[number])
        if not claimants:
            del self._claimants[number]
        elif len(claimants) > 1 and number:  # 0 is any that is free
            log.error("Port %d is told to lead to %s: it is closed", number, " and to ".join(map(str, claimants)))
            for each in claimants:
                self._shut(each)
        else:
            for each in claimants:
                if each not in self._ports:
                    self._open(each, number)

    # --- opening and closing -----------------------------------------------------------------------------------------

    def _open(self, deployment: Deployment, number: int) -> None:
        port = Port(self._gates[deployment], self._options, self._crowd, self._idle)
        self._ports[deployment] = number, port
        self._numbers[deployment] = asyncio.get_running_loop().create_future()
        self._opening[deployment] = asyncio.create_task(self._keep_opening(deployment, number, port))

    async def _keep_opening(self, deployment: Deployment, number: int, port: Port) -> None:
        tries = 0
        while not port.is_closed:
            try:
                opened = await port.open(self._host, number)
            except OSError as error:
                if tries % TOLD_EVERY == 0:
                    told = "Port %d can't be opened, so that nobody can ask for this model at zero: %s"
                    log.error(told, number, error, extra={"key": str(deployment)})
                tries += 1
                await asyncio.sleep(TRY_AGAIN_AFTER)
            else:
                self._numbers[deployment].set_result(opened)
                return

    def _shut(self, deployment: Deployment) -> None:
        if opened := self._ports.pop(deployment, None):
            self._opening.pop(deployment).cancel()
            self._numbers.pop(deployment).cancel()
            _, port = opened
            port.shut()
            self._closing = {each for each in self._closing if each.connections} | {port}


@contextlib.asynccontextmanager
async def serve(
    deployments: Deployments,
    demand: Demand,
    *,
    house: House | None = None,
    options: Options | None = None,
    host: str | None = None,
    grace: float = 30.0,
    doorkeeper: Doorkeeper | None = None,
) -> AsyncIterator[Doors]:
    """Serves every deployment that is known, on its port, until the end; requests under way get `grace` seconds."""
    doorkeeper = doorkeeper or Doorkeeper()
    doors = Doors(demand, house=house or House(), options=options or Options(), host=host, doorkeeper=doorkeeper)
    stop_listening = deployments.listen(doors.hear)
    try:
        yield doors
    finally:
        await doors.close(grace)
        stop_listening()
        await doorkeeper.close()
