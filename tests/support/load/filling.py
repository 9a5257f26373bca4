"""Clients that fill an activator up to its limits, from 256 addresses, and the replica that becomes ready then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

KIB, MIB = 1 << 10, 1 << 20
LARGE_HEADERS = b"".join(b"x-header-%d: %b\r\n" % (each, b"x" * 130) for each in range(90))

Pause = Callable[[], Awaitable[object]]
T = TypeVar("T")


@dataclass(frozen=True)
class Filling:
    """What each client sends, and receives."""

    what: str
    number: int  # of clients
    body: int = 2  # bytes
    headers: bytes = b""
    ahead: int = 0  # bytes that are sent after the request, before its response
    answer: int = 2  # bytes


async def at_once() -> None:
    """No pause."""


class Gate:
    """A gate at which clients wait until it opens; `passed` is their pause."""

    def __init__(self) -> None:
        self._came = asyncio.Semaphore(0)
        self._is_open = asyncio.Event()

    async def passed(self) -> None:
        self._came.release()
        await self._is_open.wait()

    async def until_there(self, number: int) -> None:
        for _ in range(number):
            await self._came.acquire()

    def open(self) -> None:
        self._is_open.set()


async def client(port: int, number: int, filling: Filling, *, pause: Pause = at_once) -> int:
    """Sends one request; returns the status, or 0. `pause` runs between the head of the response and the rest."""
    source = f"127.0.{1 + number % 16}.{1 + number // 16 % 16}"
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    status = 0
    try:
        await _send(writer, filling)
        status = int((await reader.readuntil(b"\r\n\r\n")).split()[1])
        if status == 200:
            await pause()
        await reader.read()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()
    return status


async def _send(writer: asyncio.StreamWriter, filling: Filling) -> None:
    head = b"POST /v1/completions HTTP/1.1\r\nHost: llama\r\nConnection: close\r\n%bContent-Length: %d\r\n\r\n"
    writer.write(head % (filling.headers, filling.body))
    body = memoryview(bytes(256 * KIB))
    for begin in range(0, filling.body, len(body)):
        writer.write(body[: min(len(body), filling.body - begin)])
        await writer.drain()
    if filling.ahead:
        writer.write(b"x" * filling.ahead)


@asynccontextmanager
async def serving(filling: Filling, *, pause: Pause = at_once) -> AsyncIterator[int]:
    """Runs a replica that responds once it has read an entire request; yields its port. `pause` runs before each
    read."""
    tasks: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            left = filling.body
            while left:
                await pause()
                left -= len(await reader.read(min(left, 64 * KIB))) or left
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % filling.answer)
            writer.write(bytes(filling.answer))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(answer(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, backlog=4096)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await end(list(tasks))


@asynccontextmanager
async def clients(
    ports: list[int], filling: Filling, *, pause: Pause = at_once
) -> AsyncIterator[list[asyncio.Task[int]]]:
    """Runs all clients at the same time, as tasks."""
    tasks = [
        asyncio.create_task(client(ports[each % len(ports)], each, filling, pause=pause))
        for each in range(filling.number)
    ]
    try:
        yield tasks
    finally:
        await end(tasks)


async def end(tasks: list[asyncio.Task[T]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
