"""The port of one model: opens it, and closes it without cutting off requests that were received."""

from __future__ import annotations

import asyncio

from slipway.activator.http1.channel import ClientChannel
from slipway.activator.proxy.access.authorization import Authorizer
from slipway.activator.proxy.client_connection import ClientConnection, ServedPort
from slipway.activator.proxy.config import ProxyConfig
from slipway.activator.proxy.request_queue import RequestQueue
from slipway.activator.proxy.upstream_pool import IdleConnections, UpstreamPool
from slipway.process.connection_limits import ConnectionLimits

BACKLOG = 1024  # connections that the kernel stores until we accept them


class Listener:
    """`limits`: the connections of all ports; `idle`: those to all replicas. Without, this port is the only one."""

    def __init__(
        self,
        queue: RequestQueue,
        config: ProxyConfig,
        authorizer: Authorizer | None = None,
        limits: ConnectionLimits | None = None,
        idle: IdleConnections | None = None,
    ) -> None:
        limits = limits or ConnectionLimits(config.connections)
        self._port = ServedPort(
            queue=queue,
            pool=UpstreamPool(idle, connect_timeout=config.connect_timeout),
            config=config,
            authorizer=authorizer or Authorizer(),
            limits=limits,
            places=limits.places(queue.state.key.namespace, config.connections_per_port),
        )
        self.connections: set[ClientConnection] = set()
        self.is_closed = False
        self._server: asyncio.Server | None = None
        queue.on_replicas = self._port.pool.keep_only
        self._port.pool.keep_only(queue.addresses)

    async def open(self, host: str | None, port: int) -> int:
        """Listens; returns the port's number, which is any free one for 0. OSError if it is in use."""
        loop = asyncio.get_running_loop()
        server = self._server = await loop.create_server(
            self._channel, host, port, backlog=BACKLOG, reuse_address=True, start_serving=False
        )
        await server.start_serving()
        return int(server.sockets[0].getsockname()[1])

    def _channel(self) -> ClientChannel:
        return ClientConnection(self._port, on_open=self._opened, on_closed=self.connections.discard).channel

    def _opened(self, connection: ClientConnection) -> None:
        self.connections.add(connection)
        if self.is_closed:
            connection.shut()

    def shut(self) -> None:
        """Accepts no more connections and closes those without a request; requests that were received are answered."""
        self.is_closed = True
        self._port.pool.close()
        if self._server:
            self._server.close()
        for connection in list(self.connections):
            connection.shut()

    async def close(self, grace: float) -> None:
        """Ends all connections; requests in flight have `grace` seconds to end on their own."""
        self.shut()
        tasks = [connection.task for connection in self.connections if connection.task]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
