"""Opens a port for each model that becomes known, and closes it when the model is deleted.

A port belongs to one model. Where two models are said to have the same port, it is opened for neither: otherwise it
would belong to the one that was seen first.
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
from slipway.activator.shared.model_state import ModelState, ModelStates
from slipway.api.model_key import ModelKey
from slipway.process.connection_limits import ConnectionLimits

logger = logging.getLogger(__name__)

TRY_AGAIN_AFTER = 1.0  # seconds after which a port that was in use is tried again
LOGGED_EVERY = 60  # tries


class Listeners:
    """The listener and the request queue of each model."""

    def __init__(
        self, demand: Demand, *, limits: GlobalLimits, config: ProxyConfig, host: str | None, authorizer: Authorizer
    ) -> None:
        self._demand = demand
        self._authorizer = authorizer
        self._limits = limits
        self._config = config
        self._host = host
        self._connection_limits = ConnectionLimits(open_files.connections(config.connections))
        self._idle = IdleConnections(open_files.idle(open_files.raised_limit()))
        self._queues: dict[ModelKey, RequestQueue] = {}
        self._listeners: dict[ModelKey, Listener] = {}
        self._claimed: dict[ModelKey, int] = {}
        self._claimants: defaultdict[int, set[ModelKey]] = defaultdict(set)
        self._closing: set[Listener] = set()
        self._opening: dict[ModelKey, asyncio.Task[None]] = {}
        self._ports: dict[ModelKey, asyncio.Future[int]] = {}
        self._is_closing = False

    def update(self, key: ModelKey, state: ModelState | None) -> None:
        """None: the model is deleted."""
        if state is None:
            self._release(key)
            if queue := self._queues.pop(key, None):
                queue.close()
                self._limits.counters.forget(key)
            return
        if queue := self._queues.get(key):
            queue.update(state)
        if self._is_closing:  # requests that are still held go to a replica that becomes ready
            return
        if not queue:
            self._queues[key] = RequestQueue(state, self._limits, self._demand)
        if self._claimed.get(key) != state.port:
            self._release(key)
            self._claimed[key] = state.port
            self._claimants[state.port].add(key)
            self._settle(state.port)

    def oldest_wait(self, key: ModelKey) -> float:
        """Seconds since the arrival of the first request that waits for the model; 0: none waits."""
        queue = self._queues.get(key)
        return queue.oldest_wait if queue else 0.0

    @property
    def used_connections(self) -> float:
        """The share that is taken of the connections of all ports."""
        return self._connection_limits.all.taken / self._connection_limits.all.most

    async def port(self, key: ModelKey) -> int:
        """The number of the model's port, once it is open."""
        return await asyncio.shield(self._ports[key])

    async def close(self, grace: float) -> None:
        self._is_closing = True
        for key in list(self._listeners):
            self._shut(key)
        await asyncio.gather(*(listener.close(grace) for listener in list(self._closing)))
        for queue in self._queues.values():
            queue.close()

    # --- which model a port belongs to -------------------------------------------------------------------------------

    def _release(self, key: ModelKey) -> None:
        self._shut(key)
        port = self._claimed.pop(key, None)
        if port is not None:
            self._claimants[port].discard(key)
            self._settle(port)

    def _settle(self, port: int) -> None:
        claimants = sorted(self._claimants[port])
        if not claimants:
            del self._claimants[port]
        elif len(claimants) > 1 and port:  # 0 is any that is free
            names = " and ".join(map(str, claimants))
            logger.error("Port %d is assigned to %s: it is closed until it belongs to one of them", port, names)
            for each in claimants:
                self._shut(each)
        else:
            for each in claimants:
                if each not in self._listeners:
                    self._open(each, port)

    # --- opening and closing -----------------------------------------------------------------------------------------

    def _open(self, key: ModelKey, port: int) -> None:
        listener = Listener(self._queues[key], self._config, self._authorizer, self._connection_limits, self._idle)
        self._listeners[key] = listener
        self._ports[key] = asyncio.get_running_loop().create_future()
        self._opening[key] = asyncio.create_task(self._open_when_free(key, port, listener))

    async def _open_when_free(self, key: ModelKey, port: int, listener: Listener) -> None:
        tries = 0
        while not listener.is_closed:
            try:
                opened = await listener.open(self._host, port)
            except OSError as error:
                if tries % LOGGED_EVERY == 0:
                    message = "Port %d can't be opened, so requests for this model fail while it has no replica: %s"
                    logger.error(message, port, error, extra={"key": str(key)})
                tries += 1
                await asyncio.sleep(TRY_AGAIN_AFTER)
            else:
                self._ports[key].set_result(opened)
                return

    def _shut(self, key: ModelKey) -> None:
        if listener := self._listeners.pop(key, None):
            self._opening.pop(key).cancel()
            self._ports.pop(key).cancel()
            listener.shut()
            self._closing = {each for each in self._closing if each.connections} | {listener}


@contextlib.asynccontextmanager
async def serve(
    states: ModelStates,
    demand: Demand,
    *,
    limits: GlobalLimits | None = None,
    config: ProxyConfig | None = None,
    host: str | None = None,
    grace: float = 30.0,
    authorizer: Authorizer | None = None,
) -> AsyncIterator[Listeners]:
    """Serves each model that is known on its port, until the end; requests in flight have `grace` seconds then."""
    authorizer = authorizer or Authorizer()
    listeners = Listeners(
        demand, limits=limits or GlobalLimits(), config=config or ProxyConfig(), host=host, authorizer=authorizer
    )
    stop_listening = states.listen(listeners.update)
    try:
        yield listeners
    finally:
        await listeners.close(grace)
        stop_listening()
        await authorizer.close()
