"""The body of one request: kept up to a limit, so that it can be sent again; what is beyond passes through once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from slipway.activator import errors
from slipway.activator.errors import RefusedError
from slipway.activator.http1.channel import ClientChannel, GoneError
from slipway.activator.http1.heads import Headers, MalformedError, RequestHead
from slipway.activator.http1.parsing import End
from slipway.activator.options import Options

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Sink(Protocol):
    def write(self, data: bytes) -> None: ...
    async def drain(self) -> None: ...


class Body:
    def __init__(self, channel: ClientChannel, head: RequestHead, options: Options, *, kept: int) -> None:
        """`kept`: bytes that may be kept in memory."""
        if head.length is not None and head.length > options.largest_body:
            raise RefusedError(errors.too_large(options.largest_body))
        self._channel = channel
        self._options = options
        self._limit = min(kept, options.kept_body)
        self._awaits_continue = head.expects_continue and head.length != 0
        self._pieces: list[bytes] = []
        self._size = 0
        self.length = head.length
        self.trailers: Headers = []
        self.is_complete = False
        self.is_whole = True  # all that has come of it is still here

    @property
    def reserved(self) -> int:
        """Bytes to be kept, as far as the head tells."""
        return min(self.length or 0, self._limit)

    @property
    def kept(self) -> bytes:
        if len(self._pieces) > 1:
            self._pieces = [b"".join(self._pieces)]
        return self._pieces[0] if self._pieces else b""

    @property
    def pieces(self) -> list[bytes]:
        """What is kept, without being put together."""
        return list(self._pieces)

    @property
    def can_be_sent_again(self) -> bool:
        return self.is_complete and self.is_whole

    async def keep(self, grow: Callable[[int], None]) -> None:
        """Reads until the body is complete or the limit is reached; `grow` hears of bytes that nobody announced."""
        while not self.is_complete and self._size < self._limit:
            if piece := await self._next():
                if self.length is None:
                    grow(len(piece))
                self._pieces.append(piece)

    async def pass_on(self, sink: Sink, wrap: Callable[[bytes], bytes]) -> None:
        """Reads the rest, and writes each piece when the last one is taken."""
        self.forget()
        while not self.is_complete:
            if piece := await self._next():
                sink.write(wrap(piece))
                await sink.drain()

    def forget(self) -> None:
        self._pieces = []
        self.is_whole = False

    async def discard(self) -> bool:
        """Reads on for a while, so that a client that still sends sees its answer; whether that was all of it."""
        try:
            async with asyncio.timeout(self._options.linger):
                while not self.is_complete:
                    self._size = 0
                    await self._next()
        except (TimeoutError, GoneError, MalformedError, RefusedError):
            return False
        return True

    @property
    def is_unasked(self) -> bool:
        """The client waits to be told to send it, so it can still be turned away without."""
        return self._awaits_continue

    async def _next(self) -> bytes:
        """The next piece; empty at the end."""
        if self._awaits_continue:
            self._awaits_continue = False
            self._channel.write(CONTINUE)
        event = await self._event()
        if isinstance(event, bytes):
            self._size += len(event)
            if self._size > self._options.largest_body:
                raise RefusedError(errors.too_large(self._options.largest_body))
            return event
        if isinstance(event, MalformedError):
            raise event
        assert isinstance(event, End)
        self.is_complete, self.trailers = True, event.trailers
        return b""

    async def _event(self) -> object:
        async with asyncio.timeout(self._options.body_timeout):
            return await self._channel.event()
