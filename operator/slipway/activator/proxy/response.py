"""The answer to one client: an engine's, passed on; or our own; or comments of ours first, and then either."""

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

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"  # asked with it, whether it's there, a client needn't answer
CLOSE = (b"connection", b"close")
_STREAM = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class ClientResponse:
    def __init__(self, channel: ClientChannel, request: RequestHead | None) -> None:
        """Without a request, because none could be understood, only a refusal can follow."""
        self._channel = channel
        self._request = request
        self._is_http10 = request is not None and request.is_http10
        self._without_body = request is not None and request.method == b"HEAD"
        self._streams = False  # comments of ours have gone out
        self._is_stream = False  # an engine's stream of events goes out
        self._chunked = False
        self._as_event: SingleEvent | None = None  # an answer that isn't a stream, in the one that was begun
        self.has_begun = False
        self.keep_alive = request is not None and request.keep_alive
        channel.ask_with(None if self._is_http10 else CONTINUE)

    # --- our own words -----------------------------------------------------------------------------------------------

    def heartbeat(self, text: bytes) -> None:
        """Begins the stream, if it hasn't, and says this in it; to a client that doesn't listen, nothing."""
        if not self.has_begun:
            self._streams = True
            self.keep_alive = False
            self._begin(HTTPStatus.OK, b"OK", _STREAM, length=None)
            self._channel.ask_with(self._wrapped(comment("")))
        if not self._channel.is_stalled:
            self._write(text)

    def refuse(self, refusal: ErrorResponse, *, held: float = 0.0) -> None:
        if self._streams:
            self._write(event(refusal.body()))
            self._finish([])
            return
        body = refusal.body()
        headers: Headers = [(b"content-type", b"application/json"), _held(held)]
        if refusal.retry_after is not None:
            headers.append((b"retry-after", b"%d" % refusal.retry_after))
        if refusal.status == HTTPStatus.UNAUTHORIZED:
            headers.append((b"www-authenticate", b"Bearer"))
        self.tell(refusal.status, headers, body)

    def tell(self, status: HTTPStatus, headers: Headers, body: bytes) -> None:
        self._begin(
            status, status.phrase.encode(), headers, length=len(body), first=b"" if self._without_body else body
        )

    # --- an engine's words -------------------------------------------------------------------------------------------

    def begin(self, answer: ResponseHead, *, held: float, first: bytes = b"") -> None:
        """`first`: what is there of its body already, which goes with the head."""
        media_type = (answer.get(b"content-type") or b"").split(b";")[0].strip().lower()
        self._is_stream = answer.status == HTTPStatus.OK and media_type == b"text/event-stream"
        if self._streams:
            self._channel.ask_with(b"")
            self._write(comment(f"held for {held * 1000:.0f} ms"))
            self._as_event = None if self._is_stream else SingleEvent()
            if first:
                self.data(first)
            return
        headers = [*end_to_end(answer.headers), _held(held)]
        if self._has_body(answer):
            self._begin(answer.status, answer.phrase, headers, length=answer.length, first=first)
        else:  # the length is named to one who asks for the head alone, but nothing follows it
            lengths = [header for header in answer.headers if header[0] == b"content-length"]
            self._write_head(answer.status, answer.phrase, headers + (lengths if self._without_body else []))

    def data(self, data: bytes) -> None:
        self._write(self._as_event.more(data) if self._as_event else data)

    def end(self, headers: Headers) -> None:
        if self._as_event:
            self._write(self._as_event.end())
        self._finish(trailers(headers))

    def break_off(self, refusal: ErrorResponse) -> None:
        """The engine's answer is incomplete, and must not look complete: a stream is told why, and all are cut off."""
        self.keep_alive = False
        if self._is_stream and self._chunked:
            self._write(b"\n\n" + event(refusal.body()))
            self._channel.close()
        else:
            self._channel.abort()

    async def drain(self) -> None:
        await self._channel.drain()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _has_body(self, answer: ResponseHead) -> bool:
        return not self._without_body and answer.status not in WITHOUT_BODY

    def _begin(self, status: int, phrase: bytes, headers: Headers, *, length: int | None, first: bytes = b"") -> None:
        """`length` of the body; None if nobody knows yet."""
        self._chunked = length is None and not self._is_http10
        if length is None and self._is_http10:
            self.keep_alive = False  # the end of the connection is the end of the answer
        else:
            headers = framed(headers, length)
        self._write_head(status, phrase, headers, first)

    def _write_head(self, status: int, phrase: bytes, headers: Headers, first: bytes = b"") -> None:
        self.has_begun = True
        self._channel.ask_with(b"")
        self.keep_alive = self.keep_alive and self._channel.takes_more
        if not self.keep_alive:
            headers = [*headers, CLOSE]
        head = written(b"HTTP/1.1 %d %b" % (status, phrase), [*headers, *self._request_ids(headers)])
        self._channel.write(head + self._wrapped(first) if first else head)

    def _request_ids(self, headers: Headers) -> Headers:
        """The client's own, unless the engine has named one."""
        named = self._request.get(b"x-request-id") if self._request else None
        return [(b"x-request-id", named)] if named and all(key != b"x-request-id" for key, _ in headers) else []

    def _write(self, data: bytes) -> None:
        if data:
            self._channel.write(self._wrapped(data))

    def _wrapped(self, data: bytes) -> bytes:
        return chunk(data) if self._chunked else data

    def _finish(self, headers: Headers) -> None:
        if self._chunked:
            self._channel.write(last_chunk(headers))


def _held(seconds: float) -> tuple[bytes, bytes]:
    return b"slipway-held-ms", b"%d" % (seconds * 1000)
