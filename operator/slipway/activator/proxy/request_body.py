"""The body of one request: stored up to a limit, so that it can be sent again; the rest passes through once."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from typing import Protocol

from slipway.activator.http1.channel import ClientChannel, ConnectionGoneError
from slipway.activator.http1.framing import HttpEvent, MessageEnd
from slipway.activator.http1.heads import Headers, MalformedMessageError, RequestHead, ResponseHead
from slipway.activator.proxy import error_responses
from slipway.activator.proxy.config import ProxyConfig
from slipway.activator.proxy.error_responses import RefusedRequestError

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
BLOCK = 64 * 1024
UNREAD = 64 * 1024  # bytes of a body that a connection reads ahead before it stops


class BodySink(Protocol):
    def write(self, data: bytes) -> None: ...
    async def drain(self) -> None: ...


class ReserveBytes(Protocol):
    def __call__(self, size: int, overhead: int) -> None:
        """`size` more bytes of the body are stored, and others besides; RefusedRequestError if there is no place."""


class BodyBlocks:
    """Bytes as they arrived. Small pieces are joined: each of them would take more than the bytes in it."""

    def __init__(self) -> None:
        self.size = 0
        self._blocks: list[bytes] = []
        self._last = bytearray()

    def __iter__(self) -> Iterator[bytes]:
        yield from self._blocks
        if self._last:
            yield bytes(self._last)

    def add(self, piece: bytes) -> None:
        self.size += len(piece)
        self._last += piece
        if len(self._last) >= BLOCK:
            self._blocks.append(bytes(self._last))
            self._last = bytearray()

    def clear(self) -> None:
        self.size, self._blocks, self._last = 0, [], bytearray()


class RequestBody:
    """Reads one body from its connection."""

    def __init__(self, channel: ClientChannel, head: RequestHead, config: ProxyConfig) -> None:
        self._channel = channel
        self._config = config
        self._limit = 0  # bytes that may be stored
        self._awaits_continue = head.expects_continue and head.length != 0
        self._size = 0
        self._waited = 0.0  # seconds, for the client to send
        self._ahead = b""  # bytes that have been read and are beyond the limit
        self.stored = BodyBlocks()
        self.length = head.length
        self.trailers: Headers = []
        self.is_complete = False
        self.is_intact = True  # all that has been received of it is still stored

    @property
    def announced(self) -> int:
        """Bytes to be stored, as far as the head says."""
        return min(self.length or 0, self._limit)

    @property
    def can_be_sent_again(self) -> bool:
        return self.is_complete and self.is_intact

    def must_fit(self) -> None:
        """RefusedRequestError if the head announces more than is ever accepted."""
        if self.length is not None and self.length > self._config.largest_body:
            raise RefusedRequestError(error_responses.too_large(self._config.largest_body))

    def may_store(self, size: int) -> None:
        """At most `size` bytes are stored in memory, or as many as the configuration allows."""
        self._limit = min(size, self._config.stored_body)

    async def read(self, reserve: ReserveBytes, *, until: float) -> None:
        """Reads until the body is complete, or as much is stored as may be; each piece is reserved. TimeoutError if
        that takes longer than `until` then, by the loop's clock."""
        while not self.is_complete and not self._is_full():
            piece = await self._next(until)
            if not piece:
                continue
            stored = piece[: self._limit - self.stored.size]
            self._ahead = piece[len(stored) :]
            reserve(len(stored), len(self._ahead))
            self.stored.add(stored)
        if not self.is_complete:
            reserve(0, UNREAD)

    async def pass_on(self, sink: BodySink, *, chunked: bool) -> None:
        """Reads the rest, and writes each piece when the one before has been taken."""
        ahead, self._ahead = self._ahead, b""
        self.drop()
        if ahead:
            await write_piece(sink, ahead, chunked=chunked)
        while not self.is_complete:
            if piece := await self._next():
                await write_piece(sink, piece, chunked=chunked)

    def drop(self) -> None:
        """What is stored of it isn't needed any longer."""
        self.stored.clear()
        self.is_intact = False

    def discard_received(self) -> bool:
        """Drops what has been received of it by now; returns whether that was all of it."""
        self.drop()
        if not self._awaits_continue:
            while not self.is_complete and isinstance(event := self._channel.event_at_hand(), bytes | MessageEnd):
                self.is_complete = isinstance(event, MessageEnd)
        return self.is_complete

    async def discard(self) -> bool:
        """Reads on for a while, so that a client that still sends sees its response; returns whether that was all."""
        self.drop()
        try:
            async with asyncio.timeout(self._config.linger):
                while not self.is_complete:
                    self._size = 0
                    await self._next()
        except (TimeoutError, ConnectionGoneError, MalformedMessageError, RefusedRequestError):
            return False
        return True

    @property
    def is_unrequested(self) -> bool:
        """The client waits for `100 Continue` before it sends the body, so it can still be refused without it."""
        return self._awaits_continue

    def _is_full(self) -> bool:
        """If the entire body has been stored, only its end is still to be read."""
        return self.stored.size >= self._limit and (self.stored.size != self.length or bool(self._ahead))

    async def _next(self, until: float = math.inf) -> bytes:
        """The next piece; empty at the end."""
        if self._awaits_continue:
            self._awaits_continue = False
            self._channel.write(CONTINUE)
        event = await self._event(until)
        if isinstance(event, bytes):
            self._size += len(event)
            if self._size > self._config.largest_body:
                raise RefusedRequestError(error_responses.too_large(self._config.largest_body))
            return event
        if isinstance(event, MalformedMessageError):
            raise event
        if isinstance(event, RequestHead | ResponseHead):
            raise RuntimeError("the parser gave the head of another message before the end of this one")
        self.is_complete, self.trailers = True, event.trailers
        return b""

    async def _event(self, until: float) -> HttpEvent:
        if event := self._channel.event_at_hand():
            return event
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            return await self._channel.event(within=min(self._patience(), until - started))
        finally:
            self._waited += clock() - started

    def _patience(self) -> float:
        """Seconds to wait for the next byte: fewer and fewer for a client that sends too slowly. Time in which we
        didn't read is not the client's fault, and doesn't count."""
        config = self._config
        left = config.body_timeout + self._size / config.body_rate - self._waited
        return max(0.0, min(config.body_timeout, left))


async def write_piece(sink: BodySink, piece: bytes, *, chunked: bool) -> None:
    """Writes it without a copy, and returns when it has been taken: what is in transit is never a second body."""
    if chunked:
        sink.write(b"%x\r\n" % len(piece))
    sink.write(piece)
    if chunked:
        sink.write(b"\r\n")
    await sink.drain()
