"""Requests to llama.cpp's own server and its responses: large ones do not block the event loop for others."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import uvloop
from prometheus_client import CollectorRegistry
from slipway_runtime.engines.llamacpp.app import LlamaCppApp
from slipway_runtime.engines.llamacpp.calls import Broken, Request, call
from slipway_runtime.engines.web import serving
from slipway_runtime.guard.asgi import Guard
from support.ports import free_port
from support.programs.guard import guarding

MIB = 1 << 20
PIECE = 64 << 10
MOST = 0.010
"""Seconds of CPU time that one step of the event loop may take."""

Server = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def llamacpp(folder: Path, server: Server) -> AsyncIterator[str]:
    """A server on llama.cpp's socket."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await server(reader, writer)
        writer.close()

    socket = str(folder / "llamacpp.sock")
    async with await asyncio.start_unix_server(serve, socket):
        yield socket


async def body_in(reader: asyncio.StreamReader, at_once: int = PIECE) -> bytes:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    remaining = int(head.partition(b"content-length: ")[2].split()[0])
    body = b""
    while remaining:
        piece = await reader.read(min(remaining, at_once))
        assert piece
        body, remaining = body + piece, remaining - len(piece)
    return body


def head(length: int, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (status, length)


def posted(*body: bytes) -> Request:
    return Request("POST", b"/v1/embeddings", body=deque(body))


async def test_a_body_arrives_unchanged(tmp_path: Path) -> None:
    pieces = [bytes([number]) * PIECE for number in range(40)]

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = await body_in(reader)
        writer.write(head(len(body)) + body)
        await writer.drain()

    async with llamacpp(tmp_path, echo) as socket, call(socket, posted(*pieces)) as answer:
        await answer.begins()
        assert bytes(await answer.body()) == b"".join(pieces)


async def test_no_more_of_a_body_is_sent_than_is_read(tmp_path: Path) -> None:
    reads = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reads.wait()
        await body_in(reader)
        writer.write(head(2) + b"{}")

    request = posted(*[bytes(PIECE)] * 64)

    async def ask() -> None:
        async with call(socket, request) as answer:
            await answer.begins()

    async with llamacpp(tmp_path, slow) as socket:
        request_task = asyncio.ensure_future(ask())
        await asyncio.sleep(0.2)
        assert len(request.body) > 32
        reads.set()
        await request_task
    assert not request.body


async def test_a_response_that_arrives_before_the_body_is_sent_is_read(tmp_path: Path) -> None:
    received = asyncio.Event()

    async def refuses(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head(2, b"413 Too Large") + b"{}")
        await received.wait()

    async with llamacpp(tmp_path, refuses) as socket:
        async with call(socket, posted(*[bytes(PIECE)] * 64)) as answer:
            await answer.begins()
            assert (answer.status, await answer.body()) == (413, b"{}")
        received.set()


async def test_a_connection_closed_during_the_request_is_an_error(tmp_path: Path) -> None:
    async def hangs_up(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    async with llamacpp(tmp_path, hangs_up) as socket:
        with pytest.raises(Broken):
            async with call(socket, posted(*[bytes(PIECE)] * 64)) as answer:
                await answer.begins()


@pytest.mark.parametrize("size", [0, 1, PIECE, MIB, MIB + 1, 5 * MIB])
async def test_a_complete_response_arrives_complete_however_large(size: int, tmp_path: Path) -> None:
    body = bytes(number % 251 for number in range(min(size, 4096))) * max(1, size // 4096)

    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await body_in(reader)
        writer.write(head(len(body)) + body)
        await writer.drain()

    async with llamacpp(tmp_path, answers) as socket, call(socket, posted(b"{}")) as answer:
        await answer.begins()
        assert bytes(await answer.body()) == body


# --- the time of others ----------------------------------------------------------------------------------------------


class Steps:
    """How long the longest step of the event loop took, in CPU time of its thread."""

    def __init__(self) -> None:
        self.longest, self._last = 0.0, time.thread_time()

    async def watch(self) -> None:
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            self.longest, self._last = max(self.longest, now - self._last), now


async def longest_step(folder: Path, *, request_bytes: int, response_bytes: int) -> float:
    """While one client sends and receives bodies of these sizes through web server and guard, all in this process."""
    number = b"0.125,"
    body = b'{"data":[%b0],"usage":{"prompt_tokens":1,"total_tokens":1}}' % (number * (response_bytes // len(number)))
    pieces = [body[at : at + PIECE] for at in range(0, len(body), PIECE)]

    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        remaining = request_bytes
        while remaining:
            remaining -= len(await reader.read(min(remaining, PIECE)))
        writer.write(head(len(body)))
        for piece in pieces:
            writer.write(piece)
            await writer.drain()

    guard, port, steps = guarding(folder), free_port(), Steps()
    async with llamacpp(folder, answers) as socket:
        engine = LlamaCppApp(guard.gate, Path(socket), CollectorRegistry(), parallel=1)
        async with serving(Guard(engine, guard.gate), "127.0.0.1", port):
            watching = asyncio.ensure_future(steps.watch())
            received = await _ask(port, request_bytes)
            watching.cancel()
    guard.close()
    assert received == len(body)
    return steps.longest


async def _ask(port: int, size: int) -> int:
    """The length of the response's body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request_head = (
        b"POST /v1/embeddings HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    )
    writer.write(request_head % size + b'{"input":"')
    remaining = size - len(b'{"input":""}')
    while remaining:
        piece = min(remaining, PIECE)
        writer.write(b"x" * piece)
        await writer.drain()
        remaining -= piece
    writer.write(b'"}')
    response_head = await reader.readuntil(b"\r\n\r\n")
    assert b" 200 " in response_head.splitlines()[0]
    length = unread = int(response_head.lower().partition(b"content-length: ")[2].split()[0])
    while unread:
        unread -= len(await reader.read(PIECE))
    writer.close()
    return length


@pytest.mark.parametrize(("request_bytes", "response_bytes"), [(32 * MIB, 64), (64, 32 * MIB)], ids=["body", "answer"])
def test_a_large_request_takes_no_long_step_of_the_event_loop(
    request_bytes: int, response_bytes: int, tmp_path: Path
) -> None:
    def measured(number: int) -> float:
        folder = tmp_path / str(number)
        folder.mkdir()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(longest_step(folder, request_bytes=request_bytes, response_bytes=response_bytes))

    # Other threads and garbage collection do not affect every one of them.
    assert min(measured(number) for number in range(3)) < MOST
