"""One connection: events to read and bytes to write, neither faster than the other side takes them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar, cast

from .parsing import AnswerParser, Event, RequestParser

MOST_UNREAD = 64 * 1024
"""Bytes that were parsed and not read yet; above it, no more are taken from the socket."""
MOST_UNSENT = 64 * 1024
"""Bytes that were written and not taken by the peer yet; above it, `drain` waits."""
LONGEST_STALL = 60.0
"""Seconds for which a peer may take nothing at all of what it is sent."""

_KEEPALIVE = (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
"""A peer whose node is gone says nothing of it: after 25 s of silence even to the kernel, it counts as gone."""

_CLOSING_STATES = (8, 9, 11, 7)  # TCP_CLOSE_WAIT, LAST_ACK, CLOSING, CLOSE: the peer has said that it is done


class Parser(Protocol):
    def feed(self, data: bytes) -> list[Event]: ...


P = TypeVar("P", bound=Parser)


class GoneError(ConnectionError):
    """The connection is over."""


class Channel(asyncio.Protocol, Generic[P]):
    def __init__(self, parser: P, *, on_open: Callable[[], None] | None = None) -> None:
        self.parser = parser
        self.on_gone: Callable[[], None] | None = None
        self.is_gone = False
        self._on_open = on_open
        self._events: deque[Event] = deque()
        self._unread = 0
        self._reader: asyncio.Future[None] | None = None
        self._writers: list[asyncio.Future[None]] = []
        self._is_stalled = False
        self._is_reading = True
        self._transport: asyncio.Transport

    # --- what asyncio calls ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self._transport.set_write_buffer_limits(high=MOST_UNSENT)
        _keep_alive(transport.get_extra_info("socket"))
        if self._on_open:
            self._on_open()

    def data_received(self, data: bytes) -> None:
        events = self.parser.feed(data)
        self._events.extend(events)
        self._unread += sum(len(event) for event in events if isinstance(event, bytes)) + len(events)
        if self._unread > MOST_UNREAD and self._is_reading:
            self._is_reading = False
            self._transport.pause_reading()
        self._wake_reader()

    def eof_received(self) -> bool:
        self._end()
        return False  # and close

    def connection_lost(self, error: Exception | None) -> None:
        self._end()

    def pause_writing(self) -> None:
        self._is_stalled = True

    def resume_writing(self) -> None:
        self._is_stalled = False
        self._wake_writers()

    # --- what we call ------------------------------------------------------------------------------------------------

    @property
    def peer(self) -> str:
        name = self._transport.get_extra_info("peername")
        return str(name[0]) if name else ""

    @property
    def is_stalled(self) -> bool:
        """Whether the peer is slow to take what it is sent."""
        return self._is_stalled

    @property
    def has_unread(self) -> bool:
        return bool(self._events)

    async def event(self) -> Event:
        """The next event; GoneError when there won't be one."""
        while not self._events:
            if self.is_gone:
                raise GoneError("the peer has closed the connection")
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        event = self._events.popleft()
        self._unread -= (len(event) if isinstance(event, bytes) else 0) + 1
        if not self._is_reading and self._unread <= MOST_UNREAD // 2 and not self.is_gone:
            self._is_reading = True
            self._transport.resume_reading()
        return event

    def write(self, data: bytes) -> None:
        if self.is_gone:
            raise GoneError("the peer has closed the connection")
        self._transport.write(data)

    async def drain(self) -> None:
        """Waits until the peer has taken enough of what was written."""
        if not self._is_stalled:
            return
        writer = asyncio.get_running_loop().create_future()
        self._writers.append(writer)
        try:
            async with asyncio.timeout(LONGEST_STALL):
                await writer
        except TimeoutError:
            self.abort()
            raise GoneError("the peer takes nothing any more") from None

    def close(self) -> None:
        """After all that was written is sent."""
        self._transport.close()

    def abort(self) -> None:
        """Now, so that nobody takes for complete what is not."""
        self._transport.abort()

    def has_peer_left(self) -> bool:
        """Whether the peer has closed, even behind bytes that we don't read yet (Linux only)."""
        if self.is_gone or self._is_reading:
            return self.is_gone
        with contextlib.suppress(OSError, AttributeError, struct.error):
            sock: socket.socket = self._transport.get_extra_info("socket")
            return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in _CLOSING_STATES
        return False

    def _end(self) -> None:
        if self.is_gone:
            return
        self.is_gone = True
        if isinstance(self.parser, AnswerParser):
            self._events.extend(self.parser.eof())
        self._wake_reader()
        self._wake_writers()
        if self.on_gone:
            self.on_gone()

    def _wake_reader(self) -> None:
        if self._reader and not self._reader.done():
            self._reader.set_result(None)

    def _wake_writers(self) -> None:
        writers, self._writers = self._writers, []
        for writer in writers:
            if not writer.done():
                if self.is_gone:
                    writer.set_exception(GoneError("the peer has closed the connection"))
                else:
                    writer.set_result(None)


def _keep_alive(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, seconds in _KEEPALIVE:
        if hasattr(socket, name):  # Linux
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), seconds)


ClientChannel = Channel[RequestParser]
ReplicaChannel = Channel[AnswerParser]
