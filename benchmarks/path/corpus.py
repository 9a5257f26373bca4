"""What clients and pods put on the wire to do harm, tried on a data path as a black box.

Each attack starts the program again, so that none has an effect on the next one. What each of them expects is what
tests/attacks/test_wire.py asserts of the activator.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from path.program import Program

POST = b"POST /v1/completions HTTP/1.1\r\nHost: a\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
WHOLE = POST + b"Content-Length: 2\r\n\r\n{}"
FAT = POST + b"X: " + b"x" * 30_000 + b"\r\nContent-Length: 2\r\n\r\n{}"
PATIENCE = 20.0
"""Seconds for what must have an end of its own accord."""

INVALID = {
    "both a length and chunks": POST + b"Content-Length: 2\r\n" + CHUNKED + b"0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
    "a length with a sign": POST + b"Content-Length: +2\r\n\r\n{}",
    "an unknown transfer coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a folded header": POST + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "a space before the colon": POST + b"Content-Length : 2\r\n\r\n{}",
    "a header with a null byte": POST + b"X: a\0b\r\nContent-Length: 0\r\n\r\n",
    "lines that end with LF alone": b"POST / HTTP/1.1\nHost: a\nContent-Length: 0\n\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "RTSP": b"GET / RTSP/1.0\r\nHost: a\r\n\r\n",
    "ICE": b"SOURCE / ICE/1.0\r\nHost: a\r\n\r\n",
    "a method of RTSP": b"DESCRIBE / HTTP/1.1\r\nHost: a\r\n\r\n",
}
ENDLESS = {
    "trailers": POST + CHUNKED + b"0\r\n" + b"X: y\r\n" * 200,
    "a trailer": POST + CHUNKED + b"0\r\nX: " + b"x" * 100_000,
    "a chunk's extension": POST + CHUNKED + b"5;" + b"x" * 100_000,
    "a chunk's size": POST + CHUNKED + b"0" * 100_000,
    "line ends before a request": b"\r\n" * 50_000,
    "a header": POST + b"X: " + b"x" * 100_000,
}
ANSWERS_OF_PODS = {
    "another protocol": b"RTSP/1.0 200 OK\r\n\r\n",
    "interim responses without end": b"HTTP/1.1 102 Processing\r\n\r\n" * 20_000,
    "half a body": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
}


@dataclass(frozen=True)
class Attack:
    name: str
    holds: Callable[[Program], Awaitable[bool]]
    """Whether the data path does what is expected of it."""


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def status(self) -> int | None:
        """None: the connection ended without a response."""
        try:
            async with asyncio.timeout(PATIENCE):
                line = await self.reader.readline()
                while line.startswith(b"HTTP/1.1 1"):  # an interim response, whose head has no headers
                    await self.reader.readline()
                    line = await self.reader.readline()
            return int(line.split()[1]) if line else None
        except (ConnectionError, ValueError, IndexError):
            return None


@asynccontextmanager
async def connected(port: int, source: str = "127.0.0.1") -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def engine(said: bytes, *, ends: bool = False) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A pod that answers each request with these bytes: its port, and what it was asked."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                asked.append(head)
                writer.write(said)
                await writer.drain()
                if ends:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], asked
    finally:
        server.close()


GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


async def _refuses(raw: bytes, program: Program) -> bool:
    """With a status, and nothing of it reaches a pod."""
    async with engine(GOOD) as (port, asked), connected(program.port) as client:
        await program.tell(f"ready {port}")
        client.writer.write(raw)
        status = await client.status()
        return status is not None and 400 <= status < 600 and not asked


async def _keeps_little_of_what_is_sent_ahead(program: Program) -> bool:
    before = program.memory("VmRSS")
    async with connected(program.port) as client:
        client.writer.write(WHOLE + FAT * 1000)
        try:
            async with asyncio.timeout(5):
                await client.writer.drain()
        except TimeoutError:
            pass  # it isn't read to the end, as it should be
        return program.memory("VmRSS") - before < 8


async def _answers_what_was_sent_ahead(program: Program) -> bool:
    async with engine(GOOD) as (port, _), connected(program.port) as client:
        await program.tell(f"ready {port}")
        client.writer.write(FAT * 20)
        async with asyncio.timeout(PATIENCE):
            for _ in range(20):
                head = (await client.reader.readuntil(b"\r\n\r\n")).lower()
                await client.reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
                if b" 200 " not in head:
                    return False
    return True


async def _answers_a_client_that_has_ended_its_side(program: Program) -> bool:
    async with engine(GOOD) as (port, _), connected(program.port) as client:
        client.writer.write(WHOLE)
        client.writer.write_eof()
        await asyncio.sleep(0.5)
        await program.tell(f"ready {port}")
        return await client.status() == 200


async def _forgets_a_client_that_closes(program: Program) -> bool:
    """Its request is not run once the model is awake."""
    async with engine(GOOD) as (port, asked):
        async with connected(program.port) as client:
            client.writer.write(WHOLE)
            await asyncio.sleep(0.5)
        await asyncio.sleep(2.0)
        await program.tell(f"ready {port}")
        await asyncio.sleep(0.5)
        return not asked


async def _has_room_despite_silent_connections(program: Program) -> bool:
    """Of one address, more than there are files."""
    async with engine(GOOD) as (port, _):
        await program.tell(f"ready {port}")
        silent = []
        try:
            for number in range(3000):
                opening = asyncio.open_connection("127.0.0.1", program.port, local_addr=("127.0.0.2", 20_000 + number))
                silent.append((await asyncio.wait_for(opening, 5.0))[1])
            async with connected(program.port, "127.0.0.3") as client:
                client.writer.write(WHOLE)
                return await client.status() == 200
        finally:
            for writer in silent:
                writer.transport.abort()


async def _ends(first: bytes, more: bytes, program: Program) -> bool:
    """A request whose sender goes on a byte at a time: it has its time in all."""
    async with connected(program.port) as client:
        client.writer.write(first)
        try:
            async with asyncio.timeout(45):
                while client.reader.at_eof() is False and not client.writer.is_closing():
                    client.writer.write(more)
                    await client.writer.drain()
                    if await _has_something(client.reader):
                        return True
        except ConnectionError:
            return True
        except TimeoutError:
            return False
    return True


async def _has_something(reader: asyncio.StreamReader) -> bool:
    try:
        await asyncio.wait_for(reader.read(1), 1.0)
    except TimeoutError:
        return False
    return True


async def _makes_no_success_of(said: bytes, program: Program) -> bool:
    """The client sees an error, or that the response is incomplete."""
    async with engine(said, ends=True) as (port, _), connected(program.port) as client:
        await program.tell(f"ready {port}")
        client.writer.write(WHOLE)
        try:
            async with asyncio.timeout(PATIENCE):
                return not await _is_complete(client.reader)
        except (ConnectionError, asyncio.IncompleteReadError):
            return True
        except TimeoutError:
            return False


async def _is_complete(reader: asyncio.StreamReader) -> bool:
    """Whether it is a success, read to its end."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b" 200 " not in head:
        return False
    if b"transfer-encoding: chunked" in head:
        await reader.readuntil(b"0\r\n\r\n")
    elif b"content-length: " in head:
        await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
    else:
        await reader.read()
    return True


async def _reads_no_faster_than_its_client(program: Program) -> bool:
    """Of 128 MiB that a pod sends."""
    before = program.memory("VmRSS")
    said = b"HTTP/1.1 200 OK\r\n\r\n" + bytes(128 << 20)
    async with engine(said, ends=True) as (port, _), connected(program.port) as client:
        await program.tell(f"ready {port}")
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.writer.write(WHOLE)
        await asyncio.sleep(4.0)
        return program.memory("VmRSS") - before < 8


ATTACKS = (
    *(Attack(f"refuses {name}", partial(_refuses, raw)) for name, raw in INVALID.items()),
    *(Attack(f"refuses {name} without end", partial(_refuses, raw)) for name, raw in ENDLESS.items()),
    *(
        Attack(f"makes no success of {name}", partial(_makes_no_success_of, raw))
        for name, raw in ANSWERS_OF_PODS.items()
    ),
    Attack("keeps little of what is sent behind a held request", _keeps_little_of_what_is_sent_ahead),
    Attack("answers requests that were sent ahead", _answers_what_was_sent_ahead),
    Attack("answers a held client that has ended its side", _answers_a_client_that_has_ended_its_side),
    Attack("forgets a held client that has closed", _forgets_a_client_that_closes),
    Attack("serves others despite 3,000 silent connections", _has_room_despite_silent_connections),
    Attack("ends a head that arrives byte by byte", partial(_ends, POST + b"X: ", b"x")),
    Attack("ends a body that arrives byte by byte", partial(_ends, POST + b"Content-Length: 1000\r\n\r\n", b"x")),
    Attack("ends a body that stops", partial(_ends, POST + b"Content-Length: 1000\r\n\r\nabc", b"")),
    Attack("reads a response no faster than its client", _reads_no_faster_than_its_client),
)


async def outcomes(program: str) -> dict[str, bool]:
    """Of each attack, whether the data path holds."""
    seen = {}
    for attack in ATTACKS:
        async with Program.started(program) as started:
            try:
                seen[attack.name] = await asyncio.wait_for(attack.holds(started), 60.0)
            except (TimeoutError, OSError, asyncio.IncompleteReadError):
                seen[attack.name] = False
    return seen
