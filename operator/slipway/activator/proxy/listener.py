"""The port of one deployment: its connections, and the requests on each, one after the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from slipway.activator.http1.channel import Channel, ConnectionGoneError, PeerStalledError
from slipway.activator.http1.heads import MalformedMessageError, RequestHead
from slipway.activator.http1.parsing import RequestParser
from slipway.activator.proxy import error_responses
from slipway.activator.proxy.config import ProxyConfig
from slipway.activator.proxy.counters import CloseReason
from slipway.activator.proxy.error_responses import ErrorResponse
from slipway.activator.proxy.request import RequestHandler
from slipway.activator.proxy.request_queue import RequestQueue
from slipway.activator.proxy.response import ClientResponse
from slipway.activator.proxy.upstream_pool import IdleConnections, UpstreamPool
from slipway.process.crowd import MOST_TURNED_AWAY, Crowd, Guest, State

log = logging.getLogger(__name__)

BACKLOG = 1024  # connections that the kernel keeps for us until we take them


class ClientConnection:
    """One client's connection. It ends when the client goes, and whatever is done for it ends with it."""

    def __init__(self, port: Listener) -> None:
        self._port = port
        self.channel = Channel(RequestParser(), on_open=self._open)
        self.guest: Guest | None = None  # none: it finds no place
        self.is_busy = False
        self.task: asyncio.Task[None] | None = None

    def _open(self) -> None:
        self.task = asyncio.create_task(self._run())
        self.channel.on_gone = self._end
        self.channel.on_half_closed = self._is_owed
        self._port.enter(self)

    def shut(self) -> None:
        """What has come by now is answered, and no more. Of a head that has begun, the rest is waited for as ever."""
        self.channel.take_no_more()
        if not (self._is_owed() or self.channel.parser.has_begun_head):
            self.channel.close()

    def make_room(self) -> None:
        """For another one."""
        self._port.count(CloseReason.MADE_ROOM)
        self.channel.abort()

    def _end(self) -> None:
        """The client has gone, and nobody wants what is still being done for it."""
        if self.task:
            self.task.cancel()

    def _is_owed(self) -> bool:
        """Whether a client that will say no more waits for an answer."""
        return self.is_busy or self.channel.has_unread

    async def _run(self) -> None:
        try:
            await self._serve()
            await self.channel.flush()  # until then, it keeps its place
            if self.channel.has_unread and not self.channel.is_ending:
                await self.channel.linger(self._port.options.linger)  # or it might not see its last answer
        except PeerStalledError:
            self._port.count(CloseReason.ANSWER_NOT_TAKEN)
        except (ConnectionGoneError, TimeoutError):
            pass
        except asyncio.CancelledError:
            if not self.channel.is_gone:
                self.channel.abort()
        except Exception:
            log.exception("A request ended with an error of the activator's own")
            self.channel.abort()
        finally:
            self.channel.close()
            self.channel.parser.release()
            self._port.leave(self)

    async def _serve(self) -> None:
        options = self._port.options
        guest = self.guest
        if guest is None:
            with self._port.turning_away() as linger:
                await self._refuse(error_responses.too_many_connections(), linger)
            return
        patience = options.head_timeout
        while self.channel.takes_more:
            try:
                head = await self.channel.event(within=patience)
            except TimeoutError:
                self._count_silence(guest)
                return
            if isinstance(head, MalformedMessageError):
                await self._refuse(error_responses.invalid(head.status, head.message), options.linger)
                return
            assert isinstance(head, RequestHead)
            if not await self._exchange(head, guest):
                return
            await self.channel.drain()  # or who takes no answers could have any number of them written
            patience = options.head_timeout if guest.state is State.SILENT else options.idle_timeout

    async def _exchange(self, head: RequestHead, guest: Guest) -> bool:
        """Who isn't let in has still said nothing for which a connection would be kept when another one needs it."""
        was = guest.state
        exchange = RequestHandler(self._port.gate, self._port.pool, self.channel, head, self._port.options)
        self.is_busy = True
        guest.turn(State.BUSY)
        try:
            return await exchange.run()
        finally:
            self.is_busy = False
            guest.turn(State.IDLE if exchange.was_let_in else was)

    def _count_silence(self, guest: Guest) -> None:
        if self.channel.parser.has_begun_head:
            self._port.count(CloseReason.HEAD_TOO_SLOW)
        elif guest.state is State.SILENT:
            self._port.count(CloseReason.SILENT)

    async def _refuse(self, refusal: ErrorResponse, linger: float) -> None:
        self._port.count(refusal.reason)
        ClientResponse(self.channel, None).refuse(refusal)
        await self.channel.linger(linger)


class Listener:
    def __init__(
        self, gate: RequestQueue, options: ProxyConfig, crowd: Crowd | None = None, idle: IdleConnections | None = None
    ) -> None:
        """`crowd`: the connections of all ports; `idle`: those to all replicas. Without, this port is the only one."""
        self.gate = gate
        self.options = options
        self.pool = UpstreamPool(idle, connect_timeout=options.connect_timeout)
        self.connections: set[ClientConnection] = set()
        self.is_closed = False
        self._crowd = crowd or Crowd(options.connections)
        self._places = self._crowd.places(gate.known.deployment.namespace, options.connections_per_port)
        self._server: asyncio.Server | None = None
        gate.on_replicas = self.pool.keep_only
        self.pool.keep_only(gate.addresses)

    async def open(self, host: str | None, number: int) -> int:
        """Listens; returns the port's number, which is any free one for 0. OSError if it is taken."""
        loop = asyncio.get_running_loop()
        server = self._server = await loop.create_server(
            lambda: ClientConnection(self).channel,
            host,
            number,
            backlog=BACKLOG,
            reuse_address=True,
            start_serving=False,
        )
        await server.start_serving()
        return int(server.sockets[0].getsockname()[1])

    def enter(self, connection: ClientConnection) -> None:
        self.connections.add(connection)
        self.gate.tally.connections += 1
        channel = connection.channel
        connection.guest = self._crowd.enter(self._places, channel.peer, close=connection.make_room)
        if self.is_closed:
            connection.shut()

    @contextmanager
    def turning_away(self) -> Iterator[float]:
        """One that has no place; yields for how many seconds it may still be listened to. Only a few are at a time."""
        self._crowd.turned_away += 1
        try:
            yield self.options.linger if self._crowd.turned_away <= MOST_TURNED_AWAY else 0.0
        finally:
            self._crowd.turned_away -= 1

    def count(self, reason: str) -> None:
        """A request that was refused, or a connection that was closed, before there was an exchange."""
        self.gate.tally.refused[reason] += 1

    def leave(self, connection: ClientConnection) -> None:
        self.connections.discard(connection)
        self.gate.tally.connections -= 1
        if connection.guest:
            connection.guest.leave()
            connection.guest = None

    def shut(self) -> None:
        """Takes no more connections and ends those without a request; requests that have come are answered."""
        self.is_closed = True
        self.pool.close()
        if self._server:
            self._server.close()
        for connection in list(self.connections):
            connection.shut()

    async def close(self, grace: float) -> None:
        """Ends everything; requests under way have so many seconds to end by themselves."""
        self.shut()
        tasks = [connection.task for connection in self.connections if connection.task]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
