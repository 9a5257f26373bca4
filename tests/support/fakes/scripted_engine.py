"""An engine on loopback that answers each request by a test's script, and records the requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

HELLO = b"Hello"


@dataclass(frozen=True)
class Asked:
    """A request as it arrived."""

    first_line: str
    headers: list[tuple[str, str]]
    body: bytes
    trailers: list[tuple[str, str]] = field(default_factory=list)

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


Script = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class ScriptedEngine:
    port: int = 0
    script: Script = field(default_factory=lambda: answering(HELLO))
    requests: list[Asked] = field(default_factory=list)
    request_arrived: asyncio.Event = field(default_factory=asyncio.Event)
    connections: int = 0
    closed_connections: int = 0  # connections that were closed
    client_left: asyncio.Event = field(default_factory=asyncio.Event)  # set when a client has closed its connection
    running: int = 0  # requests that are being answered
    most_running: int = 0  # the most requests at one time

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                await self._one(await _request(reader), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self.closed_connections += 1
            self.client_left.set()

    async def _one(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        self.requests.append(asked)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self.request_arrived.set()
        try:
            await self.script(asked, writer)
            await writer.drain()
        finally:
            self.running -= 1
        if writer.is_closing():
            raise ConnectionResetError

    async def until_client_left(self) -> None:
        await self.client_left.wait()

    async def until_requests(self, times: int = 1) -> None:
        async with asyncio.timeout(10):
            while len(self.requests) < times:
                self.request_arrived.clear()
                await self.request_arrived.wait()


@asynccontextmanager
async def scripted_engine(script: Script | None = None) -> AsyncIterator[ScriptedEngine]:
    engine = ScriptedEngine()
    if script:
        engine.script = script
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(engine.connected(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, backlog=2048)
    engine.port = server.sockets[0].getsockname()[1]
    try:
        yield engine
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


# --- scripts ---------------------------------------------------------------------------------------------------------


def answer(body: bytes, *, status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


def answering(body: bytes, *, status: str = "200 OK", headers: str = "") -> Script:
    return saying(answer(body, status=status, headers=headers))


def saying(raw: bytes) -> Script:
    """Writes these bytes, and keeps the connection open."""

    async def script(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)

    return script


def cutting(raw: bytes = b"") -> Script:
    """Writes these bytes, and then breaks the connection."""

    async def script(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()
        writer.close()

    return script


def echoing() -> Script:
    async def script(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(asked.body))

    return script


def in_turn(*scripts: Script) -> Script:
    """Runs the first script for the first request, and so on; the last script for all further requests."""
    left = list(scripts)

    async def script(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(asked, writer)

    return script


def when(released: asyncio.Event, then: Script) -> Script:
    async def script(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await released.wait()
        await then(asked, writer)

    return script


STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def token(text: str, *, finish: str | None = None) -> bytes:
    """Returns one event of an OpenAI stream."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return b"data: %b\n\n" % json.dumps({"choices": [choice]}).encode()


def in_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


# --- reading ---------------------------------------------------------------------------------------------------------


async def _request(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first_line, *lines = head.rstrip("\r\n").split("\r\n")
    headers = _headers(lines)
    named = dict(headers)
    if named.get("transfer-encoding") == "chunked":
        body = await _chunks(reader)
        return Asked(first_line, headers, body, _headers([line async for line in _trailers(reader)]))
    return Asked(first_line, headers, await reader.readexactly(int(named.get("content-length", 0))))


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    return body


async def _trailers(reader: asyncio.StreamReader) -> AsyncIterator[str]:
    while line := (await reader.readline()).decode("latin-1").strip():
        yield line


def _headers(lines: list[str]) -> list[tuple[str, str]]:
    return [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines)]
