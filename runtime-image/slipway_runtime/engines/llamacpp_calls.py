"""Requests to llama.cpp's own HTTP server over its Unix socket: each a connection, and its answer as it comes.

Nothing is asked here that the guard has not let in, and no header goes on but those that llama.cpp needs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast
from urllib.parse import quote

import httptools

MOST_UNREAD = 1 << 20  # bytes, of an answer that its client takes slowly


class Broken(Exception):  # noqa: N818 - it is what happened
    """The connection ended before the answer did."""


def request(method: str, path: bytes, query: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
    """The path as the client wrote it, with nothing in it that could end the line."""
    target = quote(path, safe="/%:@!$&'()*+,;=~") + ("?" + quote(query, safe="/%:@!$&'()*+,;=~?") if query else "")
    # llama.cpp's answer to HEAD has no body, and no parser knows that it was asked so.
    words = [f"{'GET' if method == 'HEAD' else method} {target} HTTP/1.1\r\nhost: llamacpp\r\n".encode()]
    words += [b"%b: %b\r\n" % header for header in headers]
    return b"".join([*words, b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body), body])


@asynccontextmanager
async def call(socket: str, asked: bytes) -> AsyncIterator[Call]:
    """Asks, and hangs up at the end of the block: by that llama.cpp knows to stop, in the middle of an answer too."""
    answer = Call(asked)
    try:
        transport, _ = await asyncio.get_running_loop().create_unix_connection(lambda: answer, socket)
    except OSError as error:
        raise Broken from error
    try:
        yield answer
    finally:
        transport.abort()


class Call(asyncio.Protocol):
    def __init__(self, asked: bytes) -> None:
        self.status = 0
        self.content_type = b"application/json"
        self._asked = asked
        self._parser = httptools.HttpResponseParser(self)
        self._pieces: list[bytes] = []
        self._unread = 0
        self._whole = self._gone = False
        self._news = asyncio.Event()

    @property
    def streams(self) -> bool:
        return self.content_type.startswith(b"text/event-stream")

    async def begins(self) -> None:
        """Waits for the answer's head."""
        while not self.status:
            await self._something()

    async def piece(self) -> bytes:
        """All that has come and was not read yet; nothing at the end."""
        while not self._pieces and not self._whole:
            await self._something()
        body = b"".join(self._pieces)
        self._pieces.clear()
        if self._unread > MOST_UNREAD:
            self._transport.resume_reading()
        self._unread = 0
        return body

    async def body(self) -> bytes:
        pieces = []
        while piece := await self.piece():
            pieces.append(piece)
        return b"".join(pieces)

    async def _something(self) -> None:
        if self._gone:
            raise Broken
        self._news.clear()
        await self._news.wait()

    # --- what the connection says ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has no such base
        self._transport.write(self._asked)
        self._asked = b""  # it may be large, and the answer long in coming

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()
        if self._unread > MOST_UNREAD:
            self._transport.pause_reading()
        self._news.set()

    def connection_lost(self, _: Exception | None) -> None:
        self._gone = True
        self._news.set()

    # --- what the parser says ---

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-type":
            self.content_type = value

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._unread += len(piece)

    def on_message_complete(self) -> None:
        self._whole = True
