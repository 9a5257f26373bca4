"""Guards a port of our own, the one of probes and metrics or the one of KEDA and our other replicas, against floods.

The server behind it, aiohttp or gRPC, accepts every connection and keeps it while nothing is sent. So that server
listens at a Unix socket inside of the pod, and this module accepts, counts and forwards the connections. Connections of
known clients stay open, with limits of their own (`known_connections`). Any other client may send a few bytes, within
some seconds; and where too many connect, the oldest connection of the address that has most makes room
(`connection_limits`), so that a new client is served.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import cast
from uuid import uuid4

from slipway.process.addresses import address_of
from slipway.process.connection_limits import ConnectionLimits, Counted
from slipway.process.known_connections import KnownConnection, KnownConnections

MOST = 64  # connections of unknown clients at a time, of which one address has a half at most
MOST_KNOWN = 128  # of known ones: KEDA and the other replicas need a few
FILES = 3  # of a connection: one to the client, two to the server behind
PATIENCE = 10.0  # seconds for which an unknown client may stay
FEW_WORDS = 4096  # bytes that it may send: a request has some hundreds, and more with a token
AT_ONCE = 16 << 10  # bytes
LAST_BYTES_WITHIN = 1.0  # seconds, when the program ends
MAKES_ROOM_EVERY = 0.1  # seconds: a client that had to make room reconnects immediately, and again and again
SILENCE = {
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE): 1,
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE): 30,
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL): 10,
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT): 3,
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT): 60_000,  # milliseconds
}
"""Keepalive, which notices within a minute that a known client's node has gone; the default is two hours."""

Knows = Callable[[str], Awaitable[bool]]
"""Whether the client at this address is a known one."""
Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def none_known(_: str) -> bool:
    return False


@dataclass(frozen=True)
class Caller:
    address: str
    known: KnownConnection | None  # None: an unknown client


class GuardedPort:
    """Lives from `open` to `close`. `behind`: the abstract Unix socket at which the real server must listen."""

    def __init__(self, knows: Knows = none_known, *, few_words: int = FEW_WORDS) -> None:
        self.behind = f"slipway-{uuid4()}"
        self._knows, self._few_words = knows, few_words
        self._limits, self._known_connections = ConnectionLimits(MOST), KnownConnections(MOST_KNOWN)
        self._evictions = PacedEvictions()
        self._callers: dict[str, Caller] = {}
        self._visits: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def open(self, host: str | None, port: int) -> int:
        """Returns the port's number, which is any free one for 0. OSError if it is in use."""
        server = self._server = await asyncio.start_server(self._visit, host, port, limit=AT_ONCE)
        return int(server.sockets[0].getsockname()[1])

    def address(self, name: str) -> str:
        """Of the client with that socket name; empty: its connection didn't pass through here."""
        caller = self._callers.get(name)
        return caller.address if caller else ""

    def came_for(self, name: str, namespace: str) -> None:
        """The client with that socket name has called for a model of that namespace, and got a response."""
        caller = self._callers.get(name)
        if caller and caller.known:
            self._known_connections.came_for(caller.known, namespace)

    @property
    def used_by_known(self) -> float:
        """The share that is taken of the places for known clients."""
        return self._known_connections.used

    def shut(self) -> None:
        if self._server:
            self._server.close()

    async def close(self) -> None:
        """Call it when the server behind has ended, and with it the connections to it."""
        self.shut()
        if visits := set(self._visits):
            _, late = await asyncio.wait(visits, timeout=LAST_BYTES_WITHIN)
            for visit in late:
                visit.cancel()
            await asyncio.gather(*late)

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visit = cast("asyncio.Task[None]", asyncio.current_task())
        host, *_ = writer.get_extra_info("peername") or ("",)  # none: the client has closed it already
        address = str(address_of(host) or "")
        guest = self._limits.enter((self._limits.all,), address, close=visit.cancel)
        patience = asyncio.get_running_loop().call_later(PATIENCE, visit.cancel)
        known: KnownConnection | None = None
        self._visits.add(visit)
        try:
            if guest and (first := await reader.read(self._few_words)):
                if known := await self._recognised(address, guest, close=visit.cancel):
                    patience.cancel()
                    _notice_when_gone(writer)
                async with self._connected(Caller(address, known)) as behind:
                    more = None if known else self._few_words - len(first)
                    await _converse(first, (reader, writer), behind, more)
        except (OSError, asyncio.CancelledError):
            pass  # the client has closed it, or had to make room
        finally:
            patience.cancel()
            self._visits.discard(visit)
            if guest:
                guest.leave()
            if known:
                self._known_connections.leave(known)
            writer.transport.abort()

    async def _recognised(self, address: str, guest: Counted, *, close: Callable[[], object]) -> KnownConnection | None:
        """A known client counts as an unknown one until there is room among the known ones."""
        if not await self._knows(address):
            return None
        if self._known_connections.is_full:
            await self._evictions.turn()
        guest.leave()
        return self._known_connections.enter(address, close=close)

    @asynccontextmanager
    async def _connected(self, caller: Caller) -> AsyncIterator[Ends]:
        """To the server behind, by a socket name that the kernel gives to no other socket meanwhile."""
        with socket.socket(socket.AF_UNIX) as own:
            own.setblocking(False)
            own.bind(b"")
            name = own.getsockname()[1:].decode()
            self._callers[name] = caller
            try:
                await asyncio.get_running_loop().sock_connect(own, b"\0" + self.behind.encode())
                reader, writer = await asyncio.open_unix_connection(sock=own, limit=AT_ONCE)
                try:
                    yield reader, writer
                finally:
                    writer.transport.abort()
            finally:
                del self._callers[name]


class PacedEvictions:
    """One after the other, a while apart. Of the clients that wait, the last one is next: those that had to make room
    reconnect again and again, and would always be first otherwise."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], None] = {}
        self._next: asyncio.TimerHandle | None = None

    async def turn(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting[turn] = None
        self._wait()
        try:
            await turn
        finally:
            self._waiting.pop(turn, None)

    def _wait(self) -> None:
        if self._waiting and self._next is None:
            self._next = asyncio.get_running_loop().call_later(MAKES_ROOM_EVERY, self._give)

    def _give(self) -> None:
        self._next = None
        if self._waiting:
            turn, _ = self._waiting.popitem()
            if not turn.done():  # it may have been cancelled meanwhile
                turn.set_result(None)
        self._wait()


def _notice_when_gone(writer: asyncio.StreamWriter) -> None:
    own = writer.get_extra_info("socket")
    for (level, option), value in SILENCE.items():
        own.setsockopt(level, option, value)


async def _converse(first: bytes, visitor: Ends, behind: Ends, more: int | None) -> None:
    """Until the server behind has sent everything, or the visitor has sent more than `more` bytes; None: no limit."""
    behind[1].write(first)
    saying = asyncio.create_task(_pass_on(visitor[0], behind[1], more))
    hearing = asyncio.create_task(_pass_on(behind[0], visitor[1]))
    try:
        await asyncio.wait((saying, hearing), return_when=asyncio.FIRST_COMPLETED)
        async with asyncio.timeout(PATIENCE):
            if not hearing.done() and saying.result():
                if more is None:  # aiohttp would close the connection without a response
                    behind[1].write_eof()
                await hearing
            if hearing.done():
                visitor[1].close()
                await visitor[1].wait_closed()
    finally:
        saying.cancel()
        hearing.cancel()


async def _pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter, most: int | None = None) -> bool:
    """Whether the source has ended, and everything was forwarded."""
    with suppress(OSError):
        while data := await source.read(AT_ONCE):
            if most is not None and (most := most - len(data)) < 0:
                return False
            sink.write(data)
            await sink.drain()
        return True
    return False
