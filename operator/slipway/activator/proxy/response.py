"""The response to one client: a replica's, passed on; or our own; or comments of ours first, and then either.

How far it is, and what may follow, is the table of `response_state`; here is what each step writes.
"""

from __future__ import annotations

from http import HTTPStatus

from slipway.activator.http1.channel import ClientChannel
from slipway.activator.http1.heads import (
    WITHOUT_BODY,
    Headers,
    RequestHead,
    ResponseHead,
    chunk,
    end_to_end,
    framed,
    last_chunk,
    trailers,
    written,
)
from slipway.activator.proxy.error_responses import ErrorResponse
from slipway.activator.proxy.event_stream import SingleEvent, comment, event
from slipway.activator.proxy.response_state import HEARTBEATS, NOTHING_SENT, ResponseEvent, ResponseState, next_state
from slipway.contract.runbooks import NO_RUNBOOKS, Runbooks

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"  # shows whether a client is still there, and needs no reply from it
CLOSE = (b"connection", b"close")
_EVENT_STREAM = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class ClientResponse:
    """The response to one request, until it is complete or broken off."""

    def __init__(self, channel: ClientChannel, request: RequestHead | None, runbooks: Runbooks = NO_RUNBOOKS) -> None:
        """Without a request, because none could be parsed, only an error can follow, and errors link to `runbooks`."""
        self._channel = channel
        self._request = request
        self._runbooks = runbooks
        self._is_http10 = request is not None and request.is_http10
        self._to_head_request = request is not None and request.method == b"HEAD"
        self._state = NOTHING_SENT
        self._is_chunked = False
        self._single_event: SingleEvent | None = None  # in the state ONE_EVENT
        self.keep_alive = request is not None and request.keep_alive
        channel.probe_with(None if self._is_http10 else CONTINUE)

    @property
    def has_started(self) -> bool:
        return self._state is not NOTHING_SENT

    # --- our own words -----------------------------------------------------------------------------------------------

    def heartbeat(self, text: bytes) -> None:
        """Starts the stream, if it hasn't started, and writes this into it; to a client that doesn't read, nothing."""
        before = self._advance(ResponseEvent.HEARTBEAT)
        if before is NOTHING_SENT:
            self.keep_alive = False
            self._start(HTTPStatus.OK, b"OK", _EVENT_STREAM, length=None)
            self._channel.probe_with(self._framed(comment("")))
        if not self._channel.is_stalled:
            self._write(text)

    def refuse(self, error: ErrorResponse, *, held: float = 0.0) -> None:
        if self._state is HEARTBEATS:
            self._advance(ResponseEvent.OWN_RESPONSE)
            self._write(event(error.body(self._runbooks)))
            self._finish([])
            return
        headers: Headers = [(b"content-type", b"application/json"), _held(held)]
        if error.retry_after is not None:
            headers.append((b"retry-after", b"%d" % error.retry_after))
        if error.status == HTTPStatus.UNAUTHORIZED:
            headers.append((b"www-authenticate", b"Bearer"))
        self.respond(error.status, headers, error.body(self._runbooks))

    def respond(self, status: HTTPStatus, headers: Headers, body: bytes) -> None:
        """With a complete response of our own."""
        self._advance(ResponseEvent.OWN_RESPONSE)
        first = b"" if self._to_head_request else body
        self._start(status, status.phrase.encode(), headers, length=len(body), first=first)

    # --- a replica's response ----------------------------------------------------------------------------------------

    def start(self, head: ResponseHead, *, held: float, first: bytes = b"") -> None:
        """`first`: the part of its body that has been read already; it is sent together with the head."""
        media_type = (head.get(b"content-type") or b"").split(b";")[0].strip().lower()
        is_events = head.status == HTTPStatus.OK and media_type == b"text/event-stream"
        before = self._advance(ResponseEvent.EVENT_STREAM if is_events else ResponseEvent.OTHER_RESPONSE)
        if before is HEARTBEATS:
            self._single_event = None if is_events else SingleEvent()
            self._channel.probe_with(b"")
            self._write(comment(f"held for {held * 1000:.0f} ms"))
            if first:
                self.data(first)
            return
        headers = [*end_to_end(head.headers), _held(held)]
        if not self._to_head_request and head.status not in WITHOUT_BODY:
            self._start(head.status, head.phrase, headers, length=head.length, first=first)
        else:  # a HEAD request is answered with the length of a body that doesn't follow
            lengths = [header for header in head.headers if header[0] == b"content-length"]
            self._write_head(head.status, head.phrase, headers + (lengths if self._to_head_request else []))

    def data(self, data: bytes) -> None:
        self._write(self._single_event.more(data) if self._single_event else data)

    def end(self, headers: Headers) -> None:
        self._advance(ResponseEvent.END)
        if self._single_event:
            self._write(self._single_event.end())
        self._finish(trailers(headers))

    def break_off(self, error: ErrorResponse) -> None:
        """The replica's response is incomplete, and must not look complete: an event stream ends with the error, and
        in any case the connection is cut."""
        before = self._advance(ResponseEvent.BREAK_OFF)
        self.keep_alive = False
        if before is ResponseState.EVENTS and self._is_chunked:
            self._write(b"\n\n" + event(error.body(self._runbooks)))
            self._channel.close()
        else:
            self._channel.abort()

    async def drain(self) -> None:
        await self._channel.drain()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _advance(self, event: ResponseEvent) -> ResponseState:
        """Returns the state before the event."""
        before, self._state = self._state, next_state(self._state, event)
        return before

    def _start(self, status: int, phrase: bytes, headers: Headers, *, length: int | None, first: bytes = b"") -> None:
        """`length` of the body; None if it isn't known yet."""
        self._is_chunked = length is None and not self._is_http10
        if length is None and self._is_http10:
            self.keep_alive = False  # the end of the connection is the end of the response
        else:
            headers = framed(headers, length)
        self._write_head(status, phrase, headers, first)

    def _write_head(self, status: int, phrase: bytes, headers: Headers, first: bytes = b"") -> None:
        self._channel.probe_with(b"")
        self.keep_alive = self.keep_alive and self._channel.takes_more
        if not self.keep_alive:
            headers = [*headers, CLOSE]
        head = written(b"HTTP/1.1 %d %b" % (status, phrase), [*headers, *self._request_ids(headers)])
        self._channel.write(head + self._framed(first) if first else head)

    def _request_ids(self, headers: Headers) -> Headers:
        """The client's own, unless the engine has set one."""
        own = self._request.get(b"x-request-id") if self._request else None
        return [(b"x-request-id", own)] if own and all(key != b"x-request-id" for key, _ in headers) else []

    def _write(self, data: bytes) -> None:
        if data:
            self._channel.write(self._framed(data))

    def _framed(self, data: bytes) -> bytes:
        return chunk(data) if self._is_chunked else data

    def _finish(self, headers: Headers) -> None:
        if self._is_chunked:
            self._channel.write(last_chunk(headers))


def _held(seconds: float) -> tuple[bytes, bytes]:
    return b"slipway-held-ms", b"%d" % (seconds * 1000)
