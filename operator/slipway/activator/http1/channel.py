"""One connection: events to read and bytes to write, neither faster than the other side takes them.

What was received is parsed when it is needed, a little at a time, and never beyond the end of a message. So a
connection takes a few KiB, whatever is sent ahead on it, and delays others by a millisecond at most.
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

from slipway.activator.http1.framing import MOST_SEGMENTS, HttpEvent
from slipway.activator.http1.loop_budget import LoopBudget, of_this_loop
from slipway.activator.http1.parsing import RequestParser, ResponseParser
from slipway.activator.http1.peer_state import (
    ENDED,
    GONE,
    HALF_CLOSED,
    PAUSED,
    READING,
    SENDS_NO_MORE,
    PeerEvent,
    next_state,
)

MOST_UNREAD = 64 * 1024
"""Bytes that were received and are not read yet: there are never more, except for those of one short body."""
MOST_AT_ONCE = MOST_UNREAD // 2  # that are taken from the socket, if no more than as many are unparsed
BYTES_OF_A_SEGMENT = 32  # a guess: most are longer
MOST_UNSENT = 4 * 1024
"""Bytes that were written and that the kernel hasn't taken yet; above it, the peer is slow, and `drain` waits."""
KERNEL_BUFFER = 256 * 1024
"""Bytes that the kernel stores of what a peer has sent and we don't read; without a bound it may be 6 MiB."""
LONGEST_STALL = 60.0
"""Seconds for which a peer may receive nothing of what it is sent."""

FIRST_CHECK, CHECK_AFTER = 0.02, 1.0
"""Seconds between two checks whether a peer that we don't read from is still there; doubled each time."""
LONGEST_SILENCE = 1.0
"""Seconds for which a peer that can't be probed is served after it has ended its side of the connection."""

_KEEPALIVE = (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
"""A peer whose node is gone sends no notice of it: after 25 s without a reply to the kernel, it counts as gone."""

TICK = 0.001
"""Seconds: the precision of an event loop's timers."""

_TCP_CLOSE, _TCP_CLOSE_WAIT = 7, 8

_buffers: WeakKeyDictionary[asyncio.AbstractEventLoop, memoryview] = WeakKeyDictionary()
"""One for all channels of a loop: the loop fills it from a socket and calls the channel, before it does anything
else."""


class ChannelParser(Protocol):
    work: int

    @property
    def unparsed(self) -> int: ...
    def take(self, data: bytes) -> None: ...
    def events(self) -> list[HttpEvent]: ...
    def eof(self) -> list[HttpEvent]: ...
    def release(self) -> None: ...


P = TypeVar("P", bound=ChannelParser)


class ConnectionGoneError(ConnectionError):
    """The connection is over."""


class PeerStalledError(ConnectionGoneError):
    """We have ended it, because the peer reads nothing, or too slowly for the place that there is."""


class Channel(asyncio.BufferedProtocol, Generic[P]):
    """`on_half_closed` returns whether a peer that has ended its side is still owed a response."""

    def __init__(
        self, parser: P, *, on_open: Callable[[], None] | None = None, most_at_once: int = MOST_AT_ONCE
    ) -> None:
        self.parser = parser
        self._most_at_once = most_at_once
        self.on_gone: Callable[[], None] | None = None
        self.on_half_closed: Callable[[], bool] | None = None
        self._state = READING
        self.is_gone = False  # as the state says
        self.peer = ""  # its address
        self._on_open = on_open
        self._events: deque[HttpEvent] = deque()
        self._received = 0  # bytes, in all
        self._taken_until: float = math.inf  # of them: no message that starts behind is read
        self._reader: asyncio.Future[None] | None = None
        self._read_until = math.inf  # by the loop's clock: until when it waits
        self._timer: asyncio.TimerHandle | None = None  # one for many waits: most are over long before
        self._timer_at = math.inf
        self._writers: list[asyncio.Future[None]] = []
        self._is_stalled = False
        self._probe: bytes | None = None
        self._has_probed = False
        self._check: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop
        self._budget: LoopBudget
        self._buffer: memoryview  # of the loop
        self._transport: asyncio.Transport

    # --- what asyncio calls ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self._loop = asyncio.get_running_loop()
        self._budget = of_this_loop()
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
        if self._state is READING and self.parser.unparsed >= self._most_at_once:
            self._move(PeerEvent.FULL)
            self._transport.pause_reading()
            self._check_soon(CHECK_AFTER)
        self._wake_reader()

    def eof_received(self) -> bool:
        """Returns whether the connection stays open for writing."""
        self._move(PeerEvent.HALF_CLOSE)
        stays = self.on_half_closed is not None and self.on_half_closed()
        if stays:
            self._check_soon(0.0)
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
        """Whether the peer is slow to receive what it is sent."""
        return self._is_stalled

    @property
    def has_unread(self) -> bool:
        return bool(self._events or self.parser.unparsed)

    @property
    def takes_more(self) -> bool:
        """Whether there may be another message behind what is parsed."""
        return self._received - self.parser.unparsed < self._taken_until

    def take_no_more(self) -> None:
        """Messages that start behind what was received by now are not read, however many there are."""
        self._taken_until = self._received

    @property
    def is_ending(self) -> bool:
        return self.is_gone or self._transport.is_closing()

    async def event(self, *, within: float = math.inf) -> HttpEvent:
        """The next event; ConnectionGoneError if there won't be one, TimeoutError if there is none `within` this many
        seconds."""
        until = self._loop.time() + within
        while not self._events:
            if unparsed := self.parser.unparsed:
                if not self._budget.has_time:
                    await self._budget.turn(min(unparsed // BYTES_OF_A_SEGMENT + 1, MOST_SEGMENTS))
                self._parse()
            elif self._state in SENDS_NO_MORE:
                raise ConnectionGoneError("the peer has closed the connection")
            elif self._loop.time() + TICK > until:
                raise TimeoutError
            else:
                await self._more(until)
        return self._events.popleft()

    def event_at_hand(self) -> HttpEvent | None:
        """The next event, if there is one without waiting: so no timeout is needed."""
        if not self._events and self.parser.unparsed and self._budget.has_time:
            self._parse()
        return self._events.popleft() if self._events else None

    def _parse(self) -> None:
        self._events.extend(self.parser.events())
        self._budget.spend(self.parser.work)
        if self._state is PAUSED:
            self._read_on()
        if self.is_gone:
            self._end_parsing()

    def write(self, data: bytes) -> None:
        if self.is_ending:
            raise ConnectionGoneError("the peer has closed the connection")
        self._transport.write(data)

    async def drain(self) -> None:
        """Waits until the peer has received enough of what was written."""
        if not self._is_stalled:
            return
        writer = self._loop.create_future()
        self._writers.append(writer)
        try:
            async with asyncio.timeout(LONGEST_STALL):
                await writer
        except TimeoutError:
            self.abort()
            raise PeerStalledError("the peer doesn't receive what it is sent") from None

    async def flush(self) -> None:
        """Waits until the peer has received all that was written."""
        if not self.is_gone:
            self._transport.set_write_buffer_limits(high=0)
            await self.drain()

    async def linger(self, seconds: float) -> None:
        """Ends our side, and discards what still arrives until the peer ends its own. So a peer that is still sending
        sees our last message: a connection that is closed with unread bytes would be reset."""
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
        """Immediately, so that the peer doesn't take an incomplete message for complete."""
        self._transport.abort()
        self.parser.release()

    # --- whether the peer is still there -----------------------------------------------------------------------------
    # A peer that closes the connection and one that only ends its side look alike, until they are sent something: the
    # kernel of the former refuses it.

    def probe_with(self, probe: bytes | None) -> None:
        """What may be sent now to find out whether the peer is there; empty if a response is on its way anyway, and
        None if nothing may be sent."""
        self._probe, self._has_probed = probe, False
        if probe and self._state is HALF_CLOSED:
            self._check_soon(0.0)

    def has_peer_left(self) -> bool:
        """Whether the peer has closed the connection, even if it sent bytes before that we don't read yet (Linux
        only)."""
        return self.is_gone or self._tcp_state() == _TCP_CLOSE

    def _check_soon(self, delay: float) -> None:
        if self.on_half_closed is None:  # a replica: all that it has sent is used
            return
        if self._check:
            self._check.cancel()
        self._check = self._loop.call_later(delay, self._check_peer, delay)

    def _check_peer(self, waited: float) -> None:
        """While we don't read from the peer, the event loop doesn't notice that it has gone."""
        self._check = None
        if self._state not in (PAUSED, HALF_CLOSED) or self._transport.is_closing():
            return
        tcp_state = self._tcp_state()
        after = min(2 * waited, CHECK_AFTER) or FIRST_CHECK
        if tcp_state == _TCP_CLOSE_WAIT and self._probe and not self._has_probed:
            self._has_probed = True
            self._transport.write(self._probe)
            after = FIRST_CHECK
        elif tcp_state in (_TCP_CLOSE, None) or (tcp_state == _TCP_CLOSE_WAIT and self._probe is None and waited):
            self._end()
            self._transport.abort()
            return
        elif self._probe is None:
            after = LONGEST_SILENCE
        self._check_soon(after)

    def _tcp_state(self) -> int | None:
        with contextlib.suppress(OSError, AttributeError):
            sock: socket.socket = self._transport.get_extra_info("socket")
            return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        return None

    # --- inside ------------------------------------------------------------------------------------------------------

    def _more(self, until: float) -> asyncio.Future[None]:
        """Done when there are more bytes, when the connection ends, or `until` then."""
        self._reader, self._read_until = self._loop.create_future(), until
        if until < self._timer_at:
            self._set_timer(until)
        return self._reader

    def _set_timer(self, at: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer_at, self._timer = at, self._loop.call_at(at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer_at, self._timer = math.inf, None
        if self._reader is None or self._reader.done() or self._read_until == math.inf:
            return
        if self._loop.time() + TICK > self._read_until:
            self._wake_reader()
        else:
            self._set_timer(self._read_until)

    def _read_on(self) -> None:
        if self._state is PAUSED and self.parser.unparsed < self._most_at_once:
            self._move(PeerEvent.DRAINED)
            self._transport.resume_reading()

    def _end(self) -> None:
        if self.is_gone:
            return
        self._move(PeerEvent.GONE)
        for timer in (self._check, self._timer):
            if timer:
                timer.cancel()
        self._wake_reader()
        self._wake_writers()
        if self.on_gone:
            self.on_gone()
        self.on_gone = self.on_half_closed = None  # they refer to objects that refer to this one
        self._end_parsing()

    def _move(self, event: PeerEvent) -> None:
        self._state = next_state(self._state, event)
        self.is_gone = self._state in GONE

    def _end_parsing(self) -> None:
        """After the end of the connection, once all that was received is parsed."""
        if self.parser.unparsed:
            return
        if self._state is ENDED:
            self._events.extend(self.parser.eof())
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
