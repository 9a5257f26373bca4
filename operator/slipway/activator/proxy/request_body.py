"""The body of one request: kept up to a limit, so that it can be sent again; what is beyond passes through once."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from typing import Protocol

from slipway.activator.http1.channel import ClientChannel, ConnectionGoneError
from slipway.activator.http1.heads import Headers, MalformedMessageError, RequestHead
from slipway.activator.http1.parsing import HttpEvent, MessageEnd
from slipway.activator.proxy import error_responses
from slipway.activator.proxy.config import ProxyConfig
from slipway.activator.proxy.error_responses import RefusedRequestError

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
BLOCK = 64 * 1024
UNREAD = 64 * 1024  # bytes that a connection reads of a body before it stops because nobody takes them


class BodySink(Protocol):
    def write(self, data: bytes) -> None: ...
    async def drain(self) -> None: ...


class ReserveBytes(Protocol):
    def __call__(self, size: int, *, beside: int = 0) -> None:
        """So many more bytes are kept, and others beside them; RefusedError if there is no place."""


class BodyBlocks:
    """Bytes as they came. Small pieces are put together: by itself, each would take more than what is in it."""

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
    def __init__(self, channel: ClientChannel, head: RequestHead, options: ProxyConfig) -> None:
        self._channel = channel
        self._options = options
        self._limit = 0  # bytes that may be kept
        self._awaits_continue = head.expects_continue and head.length != 0
        self._size = 0
        self._waited = 0.0  # seconds, for the client to send
        self._ahead = b""  # of what has been read, what is beyond the limit
        self.kept = BodyBlocks()
        self.length = head.length
        self.trailers: Headers = []
        self.is_complete = False
        self.is_whole = True  # all that has come of it is still here

    @property
    def announced(self) -> int:
        """Bytes to be kept, as far as the head tells."""
        return min(self.length or 0, self._limit)

    @property
    def can_be_sent_again(self) -> bool:
        return self.is_complete and self.is_whole

    def must_fit(self) -> None:
        """RefusedError if the head announces more than is ever taken."""
        if self.length is not None and self.length > self._options.largest_body:
            raise RefusedRequestError(error_responses.too_large(self._options.largest_body))

    def may_keep(self, size: int) -> None:
        """So many bytes in memory, or as many as the options allow."""
        self._limit = min(size, self._options.kept_body)

    async def keep(self, grow: ReserveBytes, *, until: float) -> None:
        """Reads until the body is complete or as much is kept as may be; `grow` hears of each piece. TimeoutError if
        that isn't so `until` then, by the loop's clock."""
        while not self.is_complete and not self._is_full():
            piece = await self._next(until)
            if not piece:
                continue
            kept = piece[: self._limit - self.kept.size]
            self._ahead = piece[len(kept) :]
            grow(len(kept), beside=len(self._ahead))
            self.kept.add(kept)
        if not self.is_complete:
            grow(0, beside=UNREAD)

    async def pass_on(self, sink: BodySink, *, chunked: bool) -> None:
        """Reads the rest, and writes each piece when the last one is taken."""
        ahead, self._ahead = self._ahead, b""
        self.forget()
        if ahead:
            await write_piece(sink, ahead, chunked=chunked)
        while not self.is_complete:
            if piece := await self._next():
                await write_piece(sink, piece, chunked=chunked)

    def forget(self) -> None:
        self.kept.clear()
        self.is_whole = False

    def discard_at_hand(self) -> bool:
        """Takes what has come of it by now for nothing; whether that was all of it."""
        self.forget()
        if not self._awaits_continue:
            while not self.is_complete and isinstance(event := self._channel.event_at_hand(), bytes | MessageEnd):
                self.is_complete = isinstance(event, MessageEnd)
        return self.is_complete

    async def discard(self) -> bool:
        """Reads on for a while, so that a client that still sends sees its answer; whether that was all of it."""
        self.forget()
        try:
            async with asyncio.timeout(self._options.linger):
                while not self.is_complete:
                    self._size = 0
                    await self._next()
        except (TimeoutError, ConnectionGoneError, MalformedMessageError, RefusedRequestError):
            return False
        return True

    @property
    def is_unasked(self) -> bool:
        """The client waits to be told to send it, so it can still be turned away without."""
        return self._awaits_continue

    def _is_full(self) -> bool:
        """Of one that is all there, the end alone is still to be read."""
        return self.kept.size >= self._limit and (self.kept.size != self.length or bool(self._ahead))

    async def _next(self, until: float = math.inf) -> bytes:
        """The next piece; empty at the end."""
        if self._awaits_continue:
            self._awaits_continue = False
            self._channel.write(CONTINUE)
        event = await self._event(until)
        if isinstance(event, bytes):
            self._size += len(event)
            if self._size > self._options.largest_body:
                raise RefusedRequestError(error_responses.too_large(self._options.largest_body))
            return event
        if isinstance(event, MalformedMessageError):
            raise event
        assert isinstance(event, MessageEnd)
        self.is_complete, self.trailers = True, event.trailers
        return b""

    async def _event(self, until: float) -> HttpEvent:
        if event := self._channel.event_at_hand():
            return event
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            return await self._channel.event(within=min(self._patience(), until - began))
        finally:
            self._waited += clock() - began

    def _patience(self) -> float:
        """Seconds for the next byte: fewer and fewer for a client that sends too slowly. Time in which we didn't read
        is not its fault, and doesn't count."""
        options = self._options
        left = options.body_timeout + self._size / options.body_rate - self._waited
        return max(0.0, min(options.body_timeout, left))


async def write_piece(sink: BodySink, piece: bytes, *, chunked: bool) -> None:
    """Without a copy of it, and back when it is taken, so that what lies in between is never a second body."""
    if chunked:
        sink.write(b"%x\r\n" % len(piece))
    sink.write(piece)
    if chunked:
        sink.write(b"\r\n")
    await sink.drain()
