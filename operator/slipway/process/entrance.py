"""The way to a port of our own: probes, metrics, KEDA and other replicas come through here.

What answers there, aiohttp or gRPC, takes every connection and keeps it for as long as nothing is said. So it listens
at an address that is inside of the pod alone, and connections are taken, counted and passed on from here. Whoever is
known to belong here stays, in places of their own (`regulars`). Everybody else may say a little, within some seconds;
and where too many come, the oldest of the address that has most makes room (`crowd`), so that who comes anew is heard.
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
from slipway.process.crowd import Crowd, Guest
from slipway.process.regulars import Regular, Regulars

MOST = 64  # connections at a time of those who aren't known, of which one address has a half at most
MOST_KNOWN = 128  # of those who are: KEDA and the other replicas need a few
FILES = 3  # of a connection: one here, and two to what is behind
PATIENCE = 10.0  # seconds that somebody who isn't known may stay
FEW_WORDS = 4096  # bytes that they may say: a question has some hundreds, and some have a token
AT_ONCE = 16 << 10  # bytes
LAST_WORDS_WITHIN = 1.0  # seconds, when the program ends
MAKES_ROOM_EVERY = 0.1  # seconds: who had to make room comes again at once, and would go round and round
SILENCE = {
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE): 1,
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE): 30,
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL): 10,
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT): 3,
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT): 60_000,  # milliseconds
}
"""After which one who may stay has gone with its node: a minute, instead of two hours, or a quarter of one."""

Knows = Callable[[str], Awaitable[bool]]
"""Whether whoever has this address belongs here."""
Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def nobody(_: str) -> bool:
    return False


@dataclass(frozen=True)
class Caller:
    address: str
    regular: Regular | None  # none: it isn't known here


class Entrance:
    """`behind`: the abstract address of a Unix socket, at which the one who answers has to listen."""

    def __init__(self, knows: Knows = nobody, *, few_words: int = FEW_WORDS) -> None:
        self.behind = f"slipway-{uuid4()}"
        self._knows, self._few_words = knows, few_words
        self._crowd, self._regulars = Crowd(MOST), Regulars(MOST_KNOWN)
        self._turns = Turns()
        self._callers: dict[str, Caller] = {}
        self._visits: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def open(self, host: str | None, port: int) -> int:
        """Returns the port's number, which is any free one for 0. OSError if it is taken."""
        server = self._server = await asyncio.start_server(self._visit, host, port, limit=AT_ONCE)
        return int(server.sockets[0].getsockname()[1])

    def address(self, name: str) -> str:
        """Of the one who calls there by that name; empty: it hasn't come through here."""
        caller = self._callers.get(name)
        return caller.address if caller else ""

    def came_for(self, name: str, namespace: str) -> None:
        """The one who calls by that name has asked for a model of that namespace, and got an answer."""
        caller = self._callers.get(name)
        if caller and caller.regular:
            self._regulars.came_for(caller.regular, namespace)

    def shut(self) -> None:
        if self._server:
            self._server.close()

    async def close(self) -> None:
        """When what is behind has ended, and with it the connections to it."""
        self.shut()
        if visits := set(self._visits):
            _, late = await asyncio.wait(visits, timeout=LAST_WORDS_WITHIN)
            for visit in late:
                visit.cancel()
            await asyncio.gather(*late)

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visit = cast("asyncio.Task[None]", asyncio.current_task())
        host, *_ = writer.get_extra_info("peername") or ("",)  # none: it has gone again
        address = str(address_of(host) or "")
        guest = self._crowd.enter((self._crowd.all,), address, close=visit.cancel)
        patience = asyncio.get_running_loop().call_later(PATIENCE, visit.cancel)
        regular: Regular | None = None
        self._visits.add(visit)
        try:
            if guest and (first := await reader.read(self._few_words)):
                if regular := await self._known(address, guest, close=visit.cancel):
                    patience.cancel()
                    _notice_when_gone(writer)
                async with self._connected(Caller(address, regular)) as behind:
                    more = None if regular else self._few_words - len(first)
                    await _converse(first, (reader, writer), behind, more)
        except (OSError, asyncio.CancelledError):
            pass  # it has gone, or has to
        finally:
            patience.cancel()
            self._visits.discard(visit)
            if guest:
                guest.leave()
            if regular:
                self._regulars.leave(regular)
            writer.transport.abort()

    async def _known(self, address: str, guest: Guest, *, close: Callable[[], object]) -> Regular | None:
        """Whoever belongs here has the place of a stranger until there is one among those who do."""
        if not await self._knows(address):
            return None
        if self._regulars.is_full:
            await self._turns.turn()
        guest.leave()
        return self._regulars.enter(address, close=close)

    @asynccontextmanager
    async def _connected(self, caller: Caller) -> AsyncIterator[Ends]:
        """To what is behind, under a name that the kernel gives to nobody else meanwhile."""
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


class Turns:
    """One after the other, a while apart; of those who wait, whoever came last is next. Those who had to make room come
    again and again, and would be before it otherwise."""

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
            if not turn.done():  # it may have been cancelled just now
                turn.set_result(None)
        self._wait()


def _notice_when_gone(writer: asyncio.StreamWriter) -> None:
    own = writer.get_extra_info("socket")
    for (level, option), value in SILENCE.items():
        own.setsockopt(level, option, value)


async def _converse(first: bytes, visitor: Ends, behind: Ends, more: int | None) -> None:
    """Until what is behind has said all that there is to say, or the visitor says more than that; none: it may."""
    behind[1].write(first)
    saying = asyncio.create_task(_pass_on(visitor[0], behind[1], more))
    hearing = asyncio.create_task(_pass_on(behind[0], visitor[1]))
    try:
        await asyncio.wait((saying, hearing), return_when=asyncio.FIRST_COMPLETED)
        async with asyncio.timeout(PATIENCE):
            if not hearing.done() and saying.result():
                if more is None:  # aiohttp would end with it, and not answer
                    behind[1].write_eof()
                await hearing
            if hearing.done():
                visitor[1].close()
                await visitor[1].wait_closed()
    finally:
        saying.cancel()
        hearing.cancel()


async def _pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter, most: int | None = None) -> bool:
    """Whether all was said that there was to say, and was passed on."""
    with suppress(OSError):
        while data := await source.read(AT_ONCE):
            if most is not None and (most := most - len(data)) < 0:
                return False
            sink.write(data)
            await sink.drain()
        return True
    return False
