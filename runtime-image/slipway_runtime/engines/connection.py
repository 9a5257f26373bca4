"""A connection to the engine's web server: uvicorn's, with limits on what a client may send before it is authorized.

uvicorn alone accepts heads of any size, from any number of clients, for any time, and any number of pipelined requests.
Here a head is limited in bytes, headers and time, and so are the requests that wait behind the one that is being
answered. A connection on which nothing is read or written in time is closed. If there are too many connections, the one
that has been silent longest is closed to make room. The guard limits bodies; a body stays with the client until the
guard reads it.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import resource
import socket
from collections.abc import Callable
from functools import cache
from typing import Any

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http import auto
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from slipway_runtime.engines.crowd import Crowd
from slipway_runtime.guard.errors import ErrorResponse
from slipway_runtime.guard.settings import GuardSettings

LONGEST_HEAD = 64 << 10
"""Bytes of a request's first line, headers and trailers."""
MOST_HEADERS = 128
MOST_QUEUED = 8
"""Pipelined requests behind the one that is being answered."""
AT_ONCE = 16 << 10
"""Bytes that are parsed between two checks of a head's length."""

# Seconds
HEAD_TAKES = 30.0  # from the start of a connection, or of a head, until the head is complete
BODY_PAUSES = 30.0  # between two pieces of a body that the guard is waiting for
READING_PAUSES = 60.0  # of a client that reads nothing of its response
GOODBYE = 5.0  # for a client to read the last response, or to send the rest of a body that is not needed
BETWEEN_LOOKS = 1.0

LEAST = 2048  # connections of all clients together, if the limit of open files allows it
OPEN_FILES = 65536  # the soft limit that is set, if the hard limit allows it
OF_OUR_OWN = 128  # files that are not clients' connections

TOO_LONG = ErrorResponse(431, "head_too_long", f"The request's headers are more than {LONGEST_HEAD} bytes.")
TOO_MANY_HEADERS = ErrorResponse(431, "too_many_headers", f"The request has more than {MOST_HEADERS} headers.")
TOO_SLOW = ErrorResponse(408, "request_too_slow", "The request didn't arrive in time; send it again.")
TOO_MANY_QUEUED = ErrorResponse(
    429, "too_many_pipelined", "Too many requests were sent on this connection before the first was answered.", 1
)
TOO_MANY_CONNECTIONS = ErrorResponse(503, "too_many_connections", "There are too many connections; try again.", 1)
MALFORMED = ErrorResponse(400, "malformed_request", "This is not an HTTP request.")


class _Refused(Exception):  # noqa: N818 - the client's error, not ours
    """Stops parsing what a client has sent."""


class Connection(HttpToolsProtocol):
    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.address = ""
        self._crowd = crowd()
        self._told = 0
        """Bytes of the head, or of the trailers, that the parser has reported."""
        self._untold = 0
        """Bytes about which the parser has reported nothing yet."""
        self._headers = 0
        self._in_head = self._between = True
        """Whether a head comes next or is being received, and whether nothing is being received."""
        self._running: RequestResponseCycle | None = None
        self._refusal: ErrorResponse | None = None
        """Why nothing more is read; it is sent when everything before it is answered."""
        self._has_told = False
        self._deadline = self._taken_by = math.inf
        """When the client is late: with what it has to send, and with what it has to read."""
        self._is_leaving = False

    # --- the connection ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = _Flow(transport, may_read=self._may_read, reads_on=self._reads_on)
        self.address = self.client[0] if self.client else ""
        _find_out_who_is_gone(transport)
        if not self._crowd.enter(self):
            self._refuse(TOO_MANY_CONNECTIONS)
        self._expect(HEAD_TAKES)
        _watch(self._crowd, self.loop)

    def connection_lost(self, exc: Exception | None) -> None:
        self._crowd.forget(self)
        super().connection_lost(exc)

    def leave(self) -> None:
        """Closes, because other clients need the room."""
        self.transport.close()
        self._expect(GOODBYE)

    def look(self, now: float) -> None:
        if self.transport.is_closing():
            if not self._is_leaving:
                self._is_leaving = True
                self._deadline = now + GOODBYE
            elif now > self._deadline:
                self.transport.abort()
        elif now > self._taken_by:
            self.transport.abort()
        elif now > self._deadline and not self.flow.read_paused:
            if self._has_told or (not self._is_busy and (self._between or not self._in_head)):
                self.leave()  # all is sent, nothing was requested, or the rest of an unneeded body is late
            else:
                self._refuse(TOO_SLOW)

    def _expect(self, within: float) -> None:
        self._deadline = self.loop.time() + within

    def pause_writing(self) -> None:
        self._taken_by = self.loop.time() + READING_PAUSES
        super().pause_writing()

    def resume_writing(self) -> None:
        self._taken_by = math.inf
        super().resume_writing()

    # --- incoming ---------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._refusal:
            return
        try:
            for start in range(0, len(data), AT_ONCE):
                piece = data[start : start + AT_ONCE]
                self._untold += len(piece)
                self.parser.feed_data(piece)
                self._count(0)
        except httptools.HttpParserUpgrade:
            self._upgrade()
        except (httptools.HttpParserError, _Refused) as error:
            told = error if isinstance(error, _Refused) else error.__context__
            self._refuse(told.args[0] if isinstance(told, _Refused) else MALFORMED)

    def _count(self, told: int) -> None:
        """Counts bytes that aren't body: those that belong to the head, and those that may still become a header."""
        self._told += told
        if self._told + self._untold > LONGEST_HEAD:
            raise _Refused(TOO_LONG)

    def _upgrade(self) -> None:
        if not self._should_upgrade():
            return
        if self._is_busy:
            self._refuse(MALFORMED)
            return
        self.handle_websocket_upgrade()
        self._deadline = math.inf
        successor, crowd = self.transport.get_protocol(), self._crowd
        lost = successor.connection_lost

        def connection_lost(exc: Exception | None) -> None:
            crowd.forget(self)
            lost(exc)

        setattr(successor, "connection_lost", connection_lost)  # noqa: B010 - a method of another class

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= MOST_QUEUED:
            raise _Refused(TOO_MANY_QUEUED)
        self._told = self._untold = self._headers = 0
        self._in_head, self._between = True, False
        if not self._is_busy:
            self._expect(HEAD_TAKES)
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._untold = 0
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._untold = 0
        self._headers += 1
        self._count(len(name) + len(value) + len(b": \r\n"))
        if self._headers > MOST_HEADERS:
            raise _Refused(TOO_MANY_HEADERS)
        if self._in_head:  # no program reads trailers
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head, self._untold = False, 0
        self._crowd.speaks(self)
        self._expect(BODY_PAUSES)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._untold = 0
        if self._is_busy:
            self._expect(BODY_PAUSES)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._told = self._untold = 0
        self._in_head = self._between = True
        if self._is_busy:
            self._deadline = math.inf
        super().on_message_complete()
        if not self._is_busy:  # the rest of a body whose request was answered earlier
            self._expect(self.timeout_keep_alive)

    @property
    def _is_busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _may_read(self) -> bool:
        """One request after another: what follows the next one stays with the client."""
        return self._has_told or not (self.pipeline or self._refusal)

    def _reads_on(self) -> None:
        if self._is_busy and self.cycle.more_body:
            self._expect(BODY_PAUSES)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        if cycle.more_body:
            self._expect(BODY_PAUSES)
        super()._start_asgi_task(cycle, app)

    # --- outgoing ---------------------------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._unset_keepalive_if_required()  # bytes that are no request would postpone it
        if self._is_busy or self.transport.is_closing():
            return
        if self._refusal:
            self._say(self._refusal)
            return
        self._crowd.is_silent(self)
        if not self._between:
            self._expect(HEAD_TAKES if self._in_head else GOODBYE)
        else:
            self._expect(self.timeout_keep_alive)

    def _refuse(self, refusal: ErrorResponse) -> None:
        """Stops reading. Earlier requests are answered first; one that is incomplete never will be."""
        self._refusal = refusal
        self.flow.pause_reading()
        if self.pipeline and self.cycle.more_body:
            self.pipeline.popleft()
            if before := self.pipeline[0][0] if self.pipeline else self._running:
                self.cycle = before
        elif self._is_busy and self.cycle.more_body:
            self.cycle.disconnected, self.cycle.waiting_for_100_continue = True, False
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self.transport.close()
            else:
                self._say(refusal)
        if not self._is_busy:
            self._say(refusal)

    def _say(self, refusal: ErrorResponse) -> None:
        """Sends the last response. Further bytes are dropped for a while, because a reset would overtake it."""
        if self._has_told or self.transport.is_closing():
            return
        self._has_told = True
        headers = {**refusal.headers(), "connection": "close"}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.transport.write(STATUS_LINE[refusal.status] + head.encode() + b"\r\n" + refusal.body())
        if refusal is TOO_MANY_CONNECTIONS:
            self.transport.close()
            return
        with contextlib.suppress(OSError):  # the client has left already
            self.transport.write_eof()
        self._crowd.is_silent(self)
        self._expect(GOODBYE)
        self.flow.resume_reading()


class _Flow(FlowControl):
    """Resumes reading when uvicorn calls for it, unless enough was read already."""

    def __init__(
        self, transport: asyncio.Transport, *, may_read: Callable[[], bool], reads_on: Callable[[], None]
    ) -> None:
        super().__init__(transport)
        self._may_read, self._reads_on = may_read, reads_on

    def resume_reading(self) -> None:
        if self.read_paused and self._may_read():
            super().resume_reading()
            self._reads_on()


# --- of the process --------------------------------------------------------------------------------------------------


def limit_uvicorn() -> None:
    """Makes uvicorn use our connections by default, for servers that other code starts in this process."""
    auto.AutoHTTPProtocol = Connection


@cache
def crowd() -> Crowd:
    return Crowd(room(open_files(), GuardSettings.from_environment().max_in_flight))


def room(files: int, max_in_flight: int) -> int:
    """How many connections to allow: twice what may be in flight, but at most half of the open files, because as many
    again may have to be accepted only to be refused.
    """
    return max(16, min(max(LEAST, 2 * max_in_flight), (files - OF_OUR_OWN) // 2))


def open_files() -> int:
    """How many files the process may open, after raising its soft limit as far as the hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return wanted
    return OPEN_FILES if soft == resource.RLIM_INFINITY else soft


def _watch(crowd: Crowd, loop: asyncio.AbstractEventLoop) -> None:
    """One timer for all connections, while there are any."""
    if crowd.watched_by is not loop:
        crowd.watched_by = loop
        loop.call_later(BETWEEN_LOOKS, _look, crowd, loop)


def _look(crowd: Crowd, loop: asyncio.AbstractEventLoop) -> None:
    crowd.look(loop.time())
    crowd.watched_by = None
    if len(crowd):
        _watch(crowd, loop)


def _find_out_who_is_gone(transport: asyncio.Transport) -> None:
    """A client whose machine is gone doesn't even close: so the kernel probes it, and closes the connection."""
    with contextlib.suppress(OSError, AttributeError):
        found = transport.get_extra_info("socket")
        found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4)):
            found.setsockopt(socket.IPPROTO_TCP, option, value)
