"""One connection: events to read and bytes to write, neither faster than the other side takes them.

What has come is parsed when somebody asks for it, a little at a time, and never beyond the end of a message; so a
connection costs a few KiB, whatever is sent ahead on it, and keeps nobody else waiting for longer than a millisecond.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar, cast
from weakref import WeakKeyDictionary

from slipway.activator.http1.loop_budget import LoopBudget, of_this_loop
from slipway.activator.http1.parsing import MOST_SEGMENTS, HttpEvent, RequestParser, ResponseParser

MOST_UNREAD = 64 * 1024
"""Bytes that have come and are not read yet: there are never more, but for those of one short body."""
MOST_AT_ONCE = MOST_UNREAD // 2  # that are taken from the socket, if no more than as many are here
BYTES_OF_A_SEGMENT = 32  # as a guess: most are longer
MOST_UNSENT = 4 * 1024
"""Bytes that were written and that not even the kernel has taken yet; above it, the peer is slow, and `drain` waits."""
KERNEL_BUFFER = 256 * 1024
"""Bytes that the kernel keeps of what a peer has sent and we don't read; without a bound it may be 6 MiB."""
LONGEST_STALL = 60.0
"""Seconds for which a peer may take nothing at all of what it is sent."""

FIRST_LOOK, LOOK_AFTER = 0.02, 1.0
"""Seconds between two looks whether a peer is still there that we don't read from; each is twice the one before."""
LONGEST_SILENCE = 1.0
"""Seconds for which one that can't be asked is served after it has ended its side of the connection."""

_KEEPALIVE = (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
"""A peer whose node is gone says nothing of it: after 25 s of silence even to the kernel, it counts as gone."""

TICK = 0.001
"""Seconds: how exactly an event loop keeps the time."""

_TCP_CLOSE, _TCP_CLOSE_WAIT = 7, 8

_buffers: WeakKeyDictionary[asyncio.AbstractEventLoop, memoryview] = WeakKeyDictionary()
"""One for all channels of a loop, which fills it from a socket and has us take what is in it before it does anything
else."""


class ChannelParser(Protocol):
    work: int

    @property
    def unparsed(self) -> int: ...
    def take(self, data: bytes) -> None: ...
    def events(self) -> list[HttpEvent]: ...
    def release(self) -> None: ...


P = TypeVar("P", bound=ChannelParser)


class ConnectionGoneError(ConnectionError):
    """The connection is over."""


class PeerStalledError(ConnectionGoneError):
    """We have ended it, because the peer takes nothing, or too slowly for what there is place for."""


class Channel(asyncio.BufferedProtocol, Generic[P]):
    """`on_half_closed` is asked whether a peer that has ended its side is still owed an answer."""

    def __init__(
        self, parser: P, *, on_open: Callable[[], None] | None = None, most_at_once: int = MOST_AT_ONCE
    ) -> None:
        self.parser = parser
        self._most_at_once = most_at_once
        self.on_gone: Callable[[], None] | None = None
        self.on_half_closed: Callable[[], bool] | None = None
        self.is_gone = False
        self.peer = ""  # its address
        self._on_open = on_open
        self._events: deque[HttpEvent] = deque()
        self._received = 0  # bytes, ever
        self._taken_until: float = math.inf  # of them: no message is that begins behind
        self._reader: asyncio.Future[None] | None = None
        self._read_until = math.inf  # by the loop's clock, how long it waits
        self._alarm: asyncio.TimerHandle | None = None  # one for many waits: most are over long before
        self._alarm_at = math.inf
        self._writers: list[asyncio.Future[None]] = []
        self._is_stalled = False
        self._is_reading = True
        self._has_ended = False  # the peer has: nothing more comes from it
        self._question: bytes | None = None
        self._has_asked = False
        self._look: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop
        self._turns: LoopBudget
        self._buffer: memoryview  # of the loop
        self._transport: asyncio.Transport

    # --- what asyncio calls ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self._loop = asyncio.get_running_loop()
        self._turns = of_this_loop()
        self._buffer = _buffer_of(self._loop)
        self.peer = str((transport.get_extra_info("peername") or ("",))[0])
        self._transport.set_write_buffer_limits(high=MOST_UNSENT)
        _set_up(transport.get_extra_info("socket"))
        if self._on_open:
            self._on_open()
            self._on_open = None

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer[: self._most_at_once]

    def buffer_updated(self, nbytes: int) -> None:
        self._received += nbytes
        self.parser.take(bytes(self._buffer[:nbytes]))
        if self._is_reading and self.parser.unparsed >= self._most_at_once:
            self._is_reading = False
            self._transport.pause_reading()
            self._look_soon(LOOK_AFTER)
        self._wake_reader()

    def eof_received(self) -> bool:
        """Whether the connection stays open, to be written to."""
        self._has_ended = True
        stays = self.on_half_closed is not None and self.on_half_closed()
        if stays:
            self._look_soon(0.0)
            self._wake_reader()
        else:
            self._end()
        return stays

    def connection_lost(self, error: Exception | None) -> None:
        self._end()

    def pause_writing(self) -> None:
        self._is_stalled = True

    def resume_writing(self) -> None:
        self._is_stalled = False
        self._wake_writers()

    # --- what we call ------------------------------------------------------------------------------------------------

    @property
    def is_stalled(self) -> bool:
        """Whether the peer is slow to take what it is sent."""
        return self._is_stalled

    @property
    def has_unread(self) -> bool:
        return bool(self._events or self.parser.unparsed)

    @property
    def takes_more(self) -> bool:
        """Whether there may be another message behind what is parsed."""
        return self._received - self.parser.unparsed < self._taken_until

    def take_no_more(self) -> None:
        """Than has come by now. However much is sent behind it, that comes to an end."""
        self._taken_until = self._received

    @property
    def is_ending(self) -> bool:
        return self.is_gone or self._transport.is_closing()

    async def event(self, *, within: float = math.inf) -> HttpEvent:
        """The next event; GoneError when there won't be one, TimeoutError if none comes `within` so many seconds."""
        until = self._loop.time() + within
        while not self._events:
            if unparsed := self.parser.unparsed:
                if not self._turns.has_time:
                    await self._turns.turn(min(unparsed // BYTES_OF_A_SEGMENT + 1, MOST_SEGMENTS))
                self._parse()
            elif self.is_gone or self._has_ended:
                self._events.extend(self._last_events())
            elif self._loop.time() + TICK > until:
                raise TimeoutError
            else:
                await self._more(until)
        return self._events.popleft()

    def event_at_hand(self) -> HttpEvent | None:
        """The next event, if nobody has to wait for it: then no time has to be limited."""
        if not self._events and self.parser.unparsed and self._turns.has_time:
            self._parse()
        return self._events.popleft() if self._events else None

    def _parse(self) -> None:
        self._events.extend(self.parser.events())
        self._turns.spend(self.parser.work)
        if not self._is_reading:
            self._read_on()
        if self.is_gone:
            self._release_parser()

    def write(self, data: bytes) -> None:
        if self.is_ending:
            raise ConnectionGoneError("the peer has closed the connection")
        self._transport.write(data)

    async def drain(self) -> None:
        """Waits until the peer has taken enough of what was written."""
        if not self._is_stalled:
            return
        writer = self._loop.create_future()
        self._writers.append(writer)
        try:
            async with asyncio.timeout(LONGEST_STALL):
                await writer
        except TimeoutError:
            self.abort()
            raise PeerStalledError("the peer takes nothing any more") from None

    async def flush(self) -> None:
        """Waits until the peer has taken all that was written."""
        if not self.is_gone:
            self._transport.set_write_buffer_limits(high=0)
            await self.drain()

    async def linger(self, seconds: float) -> None:
        """Ends our side, and takes what still comes for nothing, until the peer ends its own: one that is still sending
        sees what it was told, where a connection that is closed before it was read would be reset."""
        self.parser.release()
        self._events.clear()
        self._read_on()
        self._transport.write_eof()
        with contextlib.suppress(TimeoutError):
            await self.event(within=seconds)

    def close(self) -> None:
        """After all that was written is sent."""
        self._transport.close()

    def abort(self) -> None:
        """Now, so that nobody takes for complete what is not."""
        self._transport.abort()
        self.parser.release()

    # --- whether the peer is still there -----------------------------------------------------------------------------
    # A peer that closes and one that only ends its side of the connection look alike, until they are sent something:
    # the kernel of the one refuses it.

    def ask_with(self, question: bytes | None) -> None:
        """What may be sent just now to find out; empty where that's needless, because an answer is on its way."""
        self._question, self._has_asked = question, False
        if question and self._has_ended:
            self._look_soon(0.0)

    def has_peer_left(self) -> bool:
        """Whether the peer has closed, even behind bytes that we don't read yet (Linux only)."""
        return self.is_gone or self._state() == _TCP_CLOSE

    def _look_soon(self, delay: float) -> None:
        if self.on_half_closed is None:  # a replica: all that it has sent is of use
            return
        if self._look:
            self._look.cancel()
        self._look = self._loop.call_later(delay, self._look_at_peer, delay)

    def _look_at_peer(self, waited: float) -> None:
        """As long as we don't read from it, nobody else tells us that it has gone."""
        self._look = None
        if self.is_gone or self._transport.is_closing() or (self._is_reading and not self._has_ended):
            return
        state = self._state()
        after = min(2 * waited, LOOK_AFTER) or FIRST_LOOK
        if state == _TCP_CLOSE_WAIT and self._question and not self._has_asked:
            self._has_asked = True
            self._transport.write(self._question)
            after = FIRST_LOOK
        elif state in (_TCP_CLOSE, None) or (state == _TCP_CLOSE_WAIT and self._question is None and waited):
            self._end()
            self._transport.abort()
            return
        elif self._question is None:
            after = LONGEST_SILENCE
        self._look_soon(after)

    def _state(self) -> int | None:
        with contextlib.suppress(OSError, AttributeError):
            sock: socket.socket = self._transport.get_extra_info("socket")
            return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        return None

    # --- inside ------------------------------------------------------------------------------------------------------

    def _more(self, until: float) -> asyncio.Future[None]:
        """Done when there are more bytes, at the end, or then."""
        self._reader, self._read_until = self._loop.create_future(), until
        if until < self._alarm_at:
            self._set_alarm(until)
        return self._reader

    def _set_alarm(self, at: float) -> None:
        if self._alarm:
            self._alarm.cancel()
        self._alarm_at, self._alarm = at, self._loop.call_at(at, self._ring)

    def _ring(self) -> None:
        self._alarm_at, self._alarm = math.inf, None
        if self._reader is None or self._reader.done() or self._read_until == math.inf:
            return
        if self._loop.time() + TICK > self._read_until:
            self._wake_reader()
        else:
            self._set_alarm(self._read_until)

    def _read_on(self) -> None:
        if not (self._is_reading or self.is_gone or self._has_ended) and self.parser.unparsed < self._most_at_once:
            self._is_reading = True
            self._transport.resume_reading()

    def _last_events(self) -> list[HttpEvent]:
        """Those that the end of the connection makes."""
        last = list(self.parser.eof()) if isinstance(self.parser, ResponseParser) and self._has_ended else []
        if not last:
            raise ConnectionGoneError("the peer has closed the connection")
        return last

    def _end(self) -> None:
        if self.is_gone:
            return
        self.is_gone = True
        for timer in (self._look, self._alarm):
            if timer:
                timer.cancel()
        self._wake_reader()
        self._wake_writers()
        if self.on_gone:
            self.on_gone()
        self.on_gone = self.on_half_closed = None  # which hold whoever holds us
        self._release_parser()

    def _release_parser(self) -> None:
        """Once it has read all that there is."""
        if self.is_gone and not self.parser.unparsed:
            self.parser.release()

    def _wake_reader(self) -> None:
        if self._reader and not self._reader.done():
            self._reader.set_result(None)

    def _wake_writers(self) -> None:
        writers, self._writers = self._writers, []
        for writer in writers:
            if not writer.done():
                if self.is_gone:
                    writer.set_exception(ConnectionGoneError("the peer has closed the connection"))
                else:
                    writer.set_result(None)


def _buffer_of(loop: asyncio.AbstractEventLoop) -> memoryview:
    if loop not in _buffers:
        _buffers[loop] = memoryview(bytearray(MOST_AT_ONCE))
    return _buffers[loop]


def _set_up(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, seconds in _KEEPALIVE:
        if hasattr(socket, name):  # Linux
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), seconds)


ClientChannel = Channel[RequestParser]
ReplicaChannel = Channel[ResponseParser]
