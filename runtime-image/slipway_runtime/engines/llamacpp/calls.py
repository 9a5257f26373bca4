"""Requests to llama.cpp's own HTTP server over its Unix socket: one connection each, and its response as it arrives.

Only requests that the guard has admitted are sent, with only those headers that llama.cpp needs.
"""

from __future__ import annotations

import asyncio
import mmap
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import quote

import httptools

MOST_UNREAD = 1 << 20  # bytes of a response whose client reads slowly


class Broken(Exception):  # noqa: N818 - it says what happened
    """The connection ended before the response did."""


@dataclass(frozen=True)
class Request:
    """A request, with its body in the pieces in which it arrived: joining large ones would block the event loop."""

    method: str
    path: bytes
    query: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: deque[bytes] = field(default_factory=deque)

    def head(self) -> bytes:
        """The head, with the path as the client wrote it, quoted so that nothing in it can end the line."""
        query = "?" + quote(self.query, safe="/%:@!$&'()*+,;=~?") if self.query else ""
        target = quote(self.path, safe="/%:@!$&'()*+,;=~") + query
        # llama.cpp's response to HEAD has no body, which the parser can't know.
        method = "GET" if self.method == "HEAD" else self.method
        words = [f"{method} {target} HTTP/1.1\r\nhost: llamacpp\r\n".encode()]
        words += [b"%b: %b\r\n" % header for header in self.headers]
        return b"".join([*words, b"connection: close\r\ncontent-length: %d\r\n\r\n" % sum(map(len, self.body))])


@asynccontextmanager
async def call(socket: str, request: Request) -> AsyncIterator[Call]:
    """Sends the request, and closes the connection at the end of the block, by which llama.cpp stops computing."""
    try:
        transport, answer = await asyncio.get_running_loop().create_unix_connection(Call, socket)
    except OSError as error:
        raise Broken from error
    try:
        await answer.ask(request)
        yield answer
    finally:
        transport.abort()


class Call(asyncio.Protocol):
    """One request and its response, on a connection of their own."""

    def __init__(self) -> None:
        self.status = 0
        self.content_type = b"application/json"
        self._parser = httptools.HttpResponseParser(self)
        self._pieces: list[bytes] = []
        self._unread = 0
        self._whole = self._gone = self._is_full = False
        self._news = asyncio.Event()

    @property
    def streams(self) -> bool:
        return self.content_type.startswith(b"text/event-stream")

    async def ask(self, request: Request) -> None:
        """Writes the request as fast as llama.cpp reads it, and frees what is written: it may be large, and take long.

        If the response is complete before the request is, the rest isn't sent.
        """
        self._transport.write(request.head())
        while request.body:
            while self._is_full and not self._is_over:
                await self._next()
            if self._is_over:
                return
            self._transport.write(request.body.popleft())

    async def begins(self) -> None:
        """Waits for the head of the response."""
        while not self.status:
            await self._something()

    async def piece(self) -> bytes:
        """Everything that has arrived and was not read yet; nothing at the end."""
        while not self._pieces and not self._whole:
            await self._something()
        body = b"".join(self._pieces)
        self._pieces.clear()
        if self._unread > MOST_UNREAD:
            self._transport.resume_reading()
        self._unread = 0
        return body

    async def body(self) -> bytes | memoryview:
        """All of it. A large one is in memory that grows without being copied: copying would block the event loop."""
        first = await self.piece()
        if self._whole and not self._pieces:
            return first
        memory, size = mmap.mmap(-1, MOST_UNREAD, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), 0
        piece = first
        while piece:
            while size + len(piece) > len(memory):
                memory.resize(2 * len(memory))
            memory[size : size + len(piece)] = piece
            size += len(piece)
            piece = await self.piece()
        return memoryview(memory)[:size]

    @property
    def _is_over(self) -> bool:
        return self._whole or self._gone

    async def _something(self) -> None:
        if self._gone:
            raise Broken
        await self._next()

    async def _next(self) -> None:
        self._news.clear()
        await self._news.wait()

    # --- called by the event loop ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has no such base

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        self._news.set()

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

    # --- called by the parser ---

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
