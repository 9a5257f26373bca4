"""The way to a port of our own: probes, metrics, KEDA and other replicas come through here.

What answers there, aiohttp or gRPC, takes every connection and keeps it for as long as nothing is said. So it listens
at an address that is inside of the pod alone, and connections are taken, counted and passed on from here. Whoever is
known to belong here stays. Everybody else may say a little, within some seconds; and where too many come, the oldest of
the address that has most makes room (`crowd`), so that who comes anew is heard.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import cast
from uuid import uuid4

from slipway.process.addresses import address_of
from slipway.process.crowd import Crowd, State

MOST = 64  # connections at a time, of which one address has a half at most
FILES = 3 * MOST  # each has one here, and two to what is behind
PATIENCE = 10.0  # seconds that somebody who isn't known may stay
FEW_WORDS = 4096  # bytes that they may say: a question has some hundreds, and some have a token
AT_ONCE = 16 << 10  # bytes
LAST_WORDS_WITHIN = 1.0  # seconds, when the program ends

Knows = Callable[[str], Awaitable[bool]]
"""Whether whoever has this address belongs here."""
Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def nobody(_: str) -> bool:
    return False


class Entrance:
    """`behind`: the abstract address of a Unix socket, at which the one who answers has to listen."""

    def __init__(self, knows: Knows = nobody, *, few_words: int = FEW_WORDS) -> None:
        self.behind = f"slipway-{uuid4()}"
        self._knows, self._few_words = knows, few_words
        self._crowd = Crowd(MOST)
        self._callers: dict[str, str] = {}
        self._visits: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def open(self, host: str | None, port: int) -> int:
        """Returns the port's number, which is any free one for 0. OSError if it is taken."""
        server = self._server = await asyncio.start_server(self._visit, host, port, limit=AT_ONCE)
        return int(server.sockets[0].getsockname()[1])

    def caller(self, name: str) -> str:
        """The address of the one who calls there by that name; empty: it hasn't come through here."""
        return self._callers.get(name, "")

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
        self._visits.add(visit)
        try:
            if guest and (first := await reader.read(self._few_words)):
                is_known = await self._knows(address)
                if is_known:
                    patience.cancel()
                    guest.turn(State.BUSY)
                async with self._connected(address) as behind:
                    more = float("inf") if is_known else self._few_words - len(first)
                    await _converse(first, (reader, writer), behind, more)
        except (OSError, asyncio.CancelledError):
            pass  # it has gone, or has to
        finally:
            patience.cancel()
            self._visits.discard(visit)
            if guest:
                guest.leave()
            writer.transport.abort()

    @asynccontextmanager
    async def _connected(self, address: str) -> AsyncIterator[Ends]:
        """To what is behind, under a name that the kernel gives to nobody else meanwhile."""
        with socket.socket(socket.AF_UNIX) as own:
            own.setblocking(False)
            own.bind(b"")
            name = own.getsockname()[1:].decode()
            self._callers[name] = address
            try:
                await asyncio.get_running_loop().sock_connect(own, b"\0" + self.behind.encode())
                reader, writer = await asyncio.open_unix_connection(sock=own, limit=AT_ONCE)
                try:
                    yield reader, writer
                finally:
                    writer.transport.abort()
            finally:
                del self._callers[name]


async def _converse(first: bytes, visitor: Ends, behind: Ends, more: float) -> None:
    """Until one of both has ended, or the visitor says more than that; it still gets what the other has said."""
    behind[1].write(first)
    saying = asyncio.create_task(_pass_on(visitor[0], behind[1], more))
    hearing = asyncio.create_task(_pass_on(behind[0], visitor[1]))
    try:
        await asyncio.wait((saying, hearing), return_when=asyncio.FIRST_COMPLETED)
        if hearing.done():
            visitor[1].close()
            await visitor[1].wait_closed()
    finally:
        saying.cancel()
        hearing.cancel()


async def _pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter, most: float = float("inf")) -> None:
    with suppress(OSError):
        while (data := await source.read(AT_ONCE)) and len(data) <= most:
            most -= len(data)
            sink.write(data)
            await sink.drain()
