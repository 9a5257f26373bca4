"""The port of one model: its connections, and the requests on each, one after the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from slipway.activator.http1.channel import Channel, ConnectionGoneError, PeerStalledError
from slipway.activator.http1.heads import MalformedMessageError, RequestHead
from slipway.activator.http1.parsing import RequestParser
from slipway.activator.proxy import error_responses
from slipway.activator.proxy.access.authorization import Authorizer
from slipway.activator.proxy.config import ProxyConfig
from slipway.activator.proxy.counters import CloseReason
from slipway.activator.proxy.error_responses import ErrorResponse
from slipway.activator.proxy.request import RequestHandler
from slipway.activator.proxy.request_queue import RequestQueue
from slipway.activator.proxy.response import ClientResponse
from slipway.activator.proxy.upstream_pool import IdleConnections, UpstreamPool
from slipway.process.connection_limits import MOST_TURNED_AWAY, ConnectionLimits, ConnectionState, Counted

logger = logging.getLogger(__name__)

BACKLOG = 1024  # connections that the kernel stores until we accept them


class ClientConnection:
    """One client's connection. It ends when the client goes, and with it whatever is still done for the client."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.channel = Channel(RequestParser(), on_open=self._open)
        self.counted: Counted | None = None  # None: there is no place for it
        self.is_busy = False
        self.task: asyncio.Task[None] | None = None

    def _open(self) -> None:
        self.task = asyncio.create_task(self._run())
        self.channel.on_gone = self._end
        self.channel.on_half_closed = self._is_owed_a_response
        self._listener.enter(self)

    def shut(self) -> None:
        """Answers what has been received by now, and no more. Of a head that has started, the rest is waited for."""
        self.channel.take_no_more()
        if not (self._is_owed_a_response() or self.channel.parser.has_started_head):
            self.channel.close()

    def make_room(self) -> None:
        """Closes it for another connection."""
        self._listener.count(CloseReason.MADE_ROOM)
        self.channel.abort()

    def _end(self) -> None:
        """The client has gone: nothing more is done for it."""
        if self.task:
            self.task.cancel()

    def _is_owed_a_response(self) -> bool:
        """Whether a client that will send nothing more waits for a response."""
        return self.is_busy or self.channel.has_unread

    async def _run(self) -> None:
        try:
            await self._serve()
            await self.channel.flush()  # until then, it keeps its place
            if self.channel.has_unread and not self.channel.is_ending:
                await self.channel.linger(self._listener.config.linger)  # or it might not see its last response
        except PeerStalledError:
            self._listener.count(CloseReason.ANSWER_NOT_TAKEN)
        except (ConnectionGoneError, TimeoutError):
            pass
        except asyncio.CancelledError:
            if not self.channel.is_gone:
                self.channel.abort()
        except Exception:
            logger.exception("A request failed because of a bug in the activator")
            self.channel.abort()
        finally:
            self.channel.close()
            self.channel.parser.release()
            self._listener.leave(self)

    async def _serve(self) -> None:
        config = self._listener.config
        counted = self.counted
        if counted is None:
            with self._listener.turning_away() as linger:
                await self._refuse(error_responses.too_many_connections(), linger)
            return
        timeout = config.head_timeout
        while self.channel.takes_more:
            try:
                head = await self.channel.event(within=timeout)
            except TimeoutError:
                self._count_silence(counted)
                return
            if isinstance(head, MalformedMessageError):
                await self._refuse(error_responses.invalid(head.status, head.message), config.linger)
                return
            if not isinstance(head, RequestHead):
                raise RuntimeError(f"the parser gave {type(head).__name__} where a request starts")
            if not await self._handle(head, counted):
                return
            await self.channel.drain()  # or a client that reads no responses could have any number of them written
            timeout = config.head_timeout if counted.state is ConnectionState.SILENT else config.idle_timeout

    async def _handle(self, head: RequestHead, counted: Counted) -> bool:
        """Returns whether another request may follow. A client that isn't authorized doesn't count as one that has sent
        a request: its connection is closed first when another one needs the place."""
        before = counted.state
        listener = self._listener
        handler = RequestHandler(
            listener.queue, listener.pool, self.channel, head, listener.config, listener.authorizer
        )
        self.is_busy = True
        counted.turn(ConnectionState.BUSY)
        try:
            return await handler.run()
        finally:
            self.is_busy = False
            counted.turn(ConnectionState.IDLE if handler.is_authorized else before)

    def _count_silence(self, counted: Counted) -> None:
        if self.channel.parser.has_started_head:
            self._listener.count(CloseReason.HEAD_TOO_SLOW)
        elif counted.state is ConnectionState.SILENT:
            self._listener.count(CloseReason.SILENT)

    async def _refuse(self, error: ErrorResponse, linger: float) -> None:
        self._listener.count(error.reason)
        ClientResponse(self.channel, None).refuse(error)
        await self.channel.linger(linger)


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
        self.queue = queue
        self.config = config
        self.authorizer = authorizer or Authorizer()
        self.pool = UpstreamPool(idle, connect_timeout=config.connect_timeout)
        self.connections: set[ClientConnection] = set()
        self.is_closed = False
        self._connection_limits = limits or ConnectionLimits(config.connections)
        self._places = self._connection_limits.places(queue.state.key.namespace, config.connections_per_port)
        self._server: asyncio.Server | None = None
        queue.on_replicas = self.pool.keep_only
        self.pool.keep_only(queue.addresses)

    async def open(self, host: str | None, port: int) -> int:
        """Listens; returns the port's number, which is any free one for 0. OSError if it is in use."""
        loop = asyncio.get_running_loop()
        server = self._server = await loop.create_server(
            lambda: ClientConnection(self).channel, host, port, backlog=BACKLOG, reuse_address=True, start_serving=False
        )
        await server.start_serving()
        return int(server.sockets[0].getsockname()[1])

    def enter(self, connection: ClientConnection) -> None:
        self.connections.add(connection)
        self.queue.counters.connections += 1
        channel = connection.channel
        connection.counted = self._connection_limits.enter(self._places, channel.peer, close=connection.make_room)
        if self.is_closed:
            connection.shut()

    @contextmanager
    def turning_away(self) -> Iterator[float]:
        """A connection without a place; yields for how many seconds it may still be read from. Few are at a time."""
        self._connection_limits.turned_away += 1
        try:
            yield self.config.linger if self._connection_limits.turned_away <= MOST_TURNED_AWAY else 0.0
        finally:
            self._connection_limits.turned_away -= 1

    def count(self, reason: str) -> None:
        """A connection that was closed, or refused, without a request that could be handled."""
        self.queue.counters.refused[reason] += 1

    def leave(self, connection: ClientConnection) -> None:
        self.connections.discard(connection)
        self.queue.counters.connections -= 1
        if connection.counted:
            connection.counted.leave()
            connection.counted = None

    def shut(self) -> None:
        """Accepts no more connections and closes those without a request; requests that were received are answered."""
        self.is_closed = True
        self.pool.close()
        if self._server:
            self._server.close()
        for connection in list(self.connections):
            connection.shut()

    async def close(self, grace: float) -> None:
        """Ends all connections; requests in flight have so many seconds to end on their own."""
        self.shut()
        tasks = [connection.task for connection in self.connections if connection.task]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
