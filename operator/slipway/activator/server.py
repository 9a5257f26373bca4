"""The port of one deployment: its connections, and the requests on each, one after the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from slipway.activator import errors
from slipway.activator.errors import Refusal
from slipway.activator.exchange import Exchange
from slipway.activator.gate import Gate
from slipway.activator.http1.channel import Channel, GoneError, StalledError
from slipway.activator.http1.heads import MalformedError, RequestHead
from slipway.activator.http1.parsing import RequestParser
from slipway.activator.options import Options
from slipway.activator.pool import Idle, Pool
from slipway.activator.reply import Reply
from slipway.activator.tally import Closed
from slipway.process.connection_limits import MOST_TURNED_AWAY, ConnectionLimits, ConnectionState, Counted

log = logging.getLogger(__name__)

BACKLOG = 1024  # connections that the kernel keeps for us until we take them


class Connection:
    """One client's connection. It ends when the client goes, and whatever is done for it ends with it."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self.channel = Channel(RequestParser(), on_open=self._open)
        self.guest: Counted | None = None  # none: it finds no place
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
        self._port.count(Closed.MADE_ROOM)
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
        except StalledError:
            self._port.count(Closed.ANSWER_NOT_TAKEN)
        except (GoneError, TimeoutError):
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
                await self._refuse(errors.too_many_connections(), linger)
            return
        patience = options.head_timeout
        while self.channel.takes_more:
            try:
                head = await self.channel.event(within=patience)
            except TimeoutError:
                self._count_silence(guest)
                return
            if isinstance(head, MalformedError):
                await self._refuse(errors.invalid(head.status, head.message), options.linger)
                return
            assert isinstance(head, RequestHead)
            if not await self._exchange(head, guest):
                return
            await self.channel.drain()  # or who takes no answers could have any number of them written
            patience = options.head_timeout if guest.state is ConnectionState.SILENT else options.idle_timeout

    async def _exchange(self, head: RequestHead, guest: Counted) -> bool:
        """Who isn't let in has still said nothing for which a connection would be kept when another one needs it."""
        was = guest.state
        exchange = Exchange(self._port.gate, self._port.pool, self.channel, head, self._port.options)
        self.is_busy = True
        guest.turn(ConnectionState.BUSY)
        try:
            return await exchange.run()
        finally:
            self.is_busy = False
            guest.turn(ConnectionState.IDLE if exchange.was_let_in else was)

    def _count_silence(self, guest: Counted) -> None:
        if self.channel.parser.has_begun_head:
            self._port.count(Closed.HEAD_TOO_SLOW)
        elif guest.state is ConnectionState.SILENT:
            self._port.count(Closed.SILENT)

    async def _refuse(self, refusal: Refusal, linger: float) -> None:
        self._port.count(refusal.reason)
        Reply(self.channel, None).refuse(refusal)
        await self.channel.linger(linger)


class Port:
    def __init__(
        self, gate: Gate, options: Options, crowd: ConnectionLimits | None = None, idle: Idle | None = None
    ) -> None:
        """`crowd`: the connections of all ports; `idle`: those to all replicas. Without, this port is the only one."""
        self.gate = gate
        self.options = options
        self.pool = Pool(idle, connect_timeout=options.connect_timeout)
        self.connections: set[Connection] = set()
        self.is_closed = False
        self._crowd = crowd or ConnectionLimits(options.connections)
        self._places = self._crowd.places(gate.known.deployment.namespace, options.connections_per_port)
        self._server: asyncio.Server | None = None
        gate.on_replicas = self.pool.keep_only
        self.pool.keep_only(gate.addresses)

    async def open(self, host: str | None, number: int) -> int:
        """Listens; returns the port's number, which is any free one for 0. OSError if it is taken."""
        loop = asyncio.get_running_loop()
        server = self._server = await loop.create_server(
            lambda: Connection(self).channel, host, number, backlog=BACKLOG, reuse_address=True, start_serving=False
        )
        await server.start_serving()
        return int(server.sockets[0].getsockname()[1])

    def enter(self, connection: Connection) -> None:
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

    def leave(self, connection: Connection) -> None:
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
