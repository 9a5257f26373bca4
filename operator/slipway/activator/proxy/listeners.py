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

from slipway.activator.proxy import open_files
from slipway.activator.proxy.access.authorization import Authorizer
from slipway.activator.proxy.admission import GlobalLimits
from slipway.activator.proxy.config import ProxyConfig
from slipway.activator.proxy.listener import Listener
from slipway.activator.proxy.request_queue import RequestQueue
from slipway.activator.proxy.upstream_pool import IdleConnections
from slipway.activator.shared.demand import Demand
from slipway.activator.shared.model_key import ModelKey
from slipway.activator.shared.model_state import ModelState, ModelStates
from slipway.process.crowd import Crowd

log = logging.getLogger(__name__)

TRY_AGAIN_AFTER = 1.0  # seconds after which a port that was taken is tried again
TOLD_EVERY = 60  # tries


class Listeners:
    def __init__(
        self, demand: Demand, *, house: GlobalLimits, options: ProxyConfig, host: str | None, doorkeeper: Authorizer
    ) -> None:
        self._demand = demand
        self._doorkeeper = doorkeeper
        self._house = house
        self._options = options
        self._host = host
        self._crowd = Crowd(open_files.connections(options.connections))
        self._idle = IdleConnections(open_files.idle(open_files.raised_limit()))
        self._gates: dict[ModelKey, RequestQueue] = {}
        self._ports: dict[ModelKey, tuple[int, Listener]] = {}
        self._claimed: dict[ModelKey, int] = {}
        self._claimants: defaultdict[int, set[ModelKey]] = defaultdict(set)
        self._closing: set[Listener] = set()
        self._opening: dict[ModelKey, asyncio.Task[None]] = {}
        self._numbers: dict[ModelKey, asyncio.Future[int]] = {}
        self._is_closing = False

    def hear(self, deployment: ModelKey, known: ModelState | None) -> None:
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
            self._gates[deployment] = RequestQueue(
                known, self._house, self._demand, runbooks=self._options.runbooks, doorkeeper=self._doorkeeper
            )
        if self._claimed.get(deployment) != known.port:
            self._release(deployment)
            self._claimed[deployment] = known.port
            self._claimants[known.port].add(deployment)
            self._settle(known.port)

    async def number(self, deployment: ModelKey) -> int:
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

    def _release(self, deployment: ModelKey) -> None:
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

    def _open(self, deployment: ModelKey, number: int) -> None:
        port = Listener(self._gates[deployment], self._options, self._crowd, self._idle)
        self._ports[deployment] = number, port
        self._numbers[deployment] = asyncio.get_running_loop().create_future()
        self._opening[deployment] = asyncio.create_task(self._keep_opening(deployment, number, port))

    async def _keep_opening(self, deployment: ModelKey, number: int, port: Listener) -> None:
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

    def _shut(self, deployment: ModelKey) -> None:
        if opened := self._ports.pop(deployment, None):
            self._opening.pop(deployment).cancel()
            self._numbers.pop(deployment).cancel()
            _, port = opened
            port.shut()
            self._closing = {each for each in self._closing if each.connections} | {port}


@contextlib.asynccontextmanager
async def serve(
    deployments: ModelStates,
    demand: Demand,
    *,
    house: GlobalLimits | None = None,
    options: ProxyConfig | None = None,
    host: str | None = None,
    grace: float = 30.0,
    doorkeeper: Authorizer | None = None,
) -> AsyncIterator[Listeners]:
    """Serves every deployment that is known, on its port, until the end; requests under way get `grace` seconds."""
    doorkeeper = doorkeeper or Authorizer()
    doors = Listeners(
        demand, house=house or GlobalLimits(), options=options or ProxyConfig(), host=host, doorkeeper=doorkeeper
    )
    stop_listening = deployments.listen(doors.hear)
    try:
        yield doors
    finally:
        await doors.close(grace)
        stop_listening()
        await doorkeeper.close()
