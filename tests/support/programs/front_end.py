"""The web server in front of an engine, in this process, and clients that write bytes to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
from slipway_runtime.engines import connection
from slipway_runtime.engines.crowd import Crowd
from slipway_runtime.engines.web import serving
from slipway_runtime.guard.exchange import App, Receive, Scope, Send

from support.ports import free_port

PATIENCE = 60.0


@dataclass
class Engine:
    """An app that answers with the path and the length of the body, once it may."""

    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    called: asyncio.Event = field(default_factory=asyncio.Event)
    paths: list[str] = field(default_factory=list)
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    reads: bool = True
    polls_for_disconnect: bool = False
    """Whether it polls for the client's disconnect before it answers."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.paths.append(scope["path"])
        self.called.set()
        body = b""
        while self.reads and (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                break
        for _ in range(10 if self.polls_for_disconnect else 0):
            with suppress(TimeoutError):
                async with asyncio.timeout(0.001):
                    await receive()
        await self.may_answer.wait()
        self.headers = scope["headers"]
        data = scope["path"].encode() + b" %d" % len(body)
        length = [(b"content-length", b"%d" % len(data))]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body", "body": data})


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    async def send(self, data: bytes) -> None:
        """Sends all of it, or as much as the server accepts."""
        self._writer.write(data)
        await self._writer.drain()

    async def send_repeatedly(self, data: bytes, *, times: int) -> None:
        for _ in range(times):
            await self.send(data)

    async def read_until(self, words: bytes) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self._reader.readuntil(words)

    async def read_all(self) -> bytes:
        """Reads until the server has closed the connection."""
        async with asyncio.timeout(PATIENCE):
            data = b""
            try:
                while piece := await self._reader.read(1 << 16):
                    data += piece
            except ConnectionResetError:
                pass
            return data

    def close(self) -> None:
        self._writer.transport.abort()


@dataclass
class FrontEnd:
    port: int
    engine: Engine
    crowd: Crowd
    clients: list[Client] = field(default_factory=list)

    async def client(self, address: str = "127.0.0.1") -> Client:
        streams = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(address, 0))
        self.clients.append(Client(*streams))
        return self.clients[-1]


@asynccontextmanager
async def front_end(
    monkeypatch: pytest.MonkeyPatch, app: App | None = None, *, most: int = 100
) -> AsyncIterator[FrontEnd]:
    """Runs the server. No address counts as the pod's own, so all connections are treated as clients."""
    crowd, engine, port = Crowd(most), Engine(), free_port()
    monkeypatch.setattr(connection, "crowd", lambda: crowd)
    monkeypatch.setattr("slipway_runtime.engines.crowd.LOOPBACK", ("127.0.0.9",))
    async with serving(app or engine, "127.0.0.1", port):
        front = FrontEnd(port, engine, crowd)
        try:
            yield front
        finally:
            engine.may_answer.set()
            for client in front.clients:
                client.close()
