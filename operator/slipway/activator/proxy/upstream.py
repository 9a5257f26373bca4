"""One try: sends a request to a replica, and reads the start of its response."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

from slipway.activator.http1.channel import ConnectionGoneError, ReplicaChannel
from slipway.activator.http1.framing import HttpEvent, MessageEnd
from slipway.activator.http1.heads import (
    VIA,
    MalformedMessageError,
    RequestHead,
    ResponseHead,
    end_to_end,
    framed,
    last_chunk,
    trailers,
    written,
)
from slipway.activator.http1.loop_budget import in_steps
from slipway.activator.proxy.empty_aborts import AbortDetector
from slipway.activator.proxy.request_body import BLOCK, RequestBody, write_piece
from slipway.activator.proxy.retry_policy import UpstreamFailure
from slipway.activator.proxy.upstream_pool import UpstreamPool
from slipway.activator.shared.replica import Replica

TURNED_AWAY = frozenset({"draining", "overloaded"})
"""Codes of the guard's 503 for a request on which no work was done."""
SHORT = 4096  # bytes: of a response, stored to judge it without a place of their own; of a body, sent with its head
LONGEST_ERROR = 4096  # bytes of a 503 that are read to find its code
ERROR_WITHIN = 5.0  # seconds


class UpstreamError(Exception):
    """The replica gave no response that counts."""

    def __init__(self, failure: UpstreamFailure, message: str, response: UpstreamResponse | None = None) -> None:
        """`response`: what it sent instead, to pass on if there is nothing better; without it, its channel is
        closed."""
        super().__init__(message)
        self.failure = failure
        self.response = response


@dataclass
class UpstreamResponse:
    """A replica's response of which nothing has been passed on yet."""

    head: ResponseHead
    channel: ReplicaChannel
    silence: float
    may_reuse: bool  # the connection, once the response is complete
    started: bytearray = field(default_factory=bytearray)  # what has been read of its body to judge it: as one, since
    # each of very small pieces would take many times the bytes in it
    end: MessageEnd | None = None  # if it has been read as well

    def take_started(self) -> bytes:
        """What has been read of its body already."""
        started, self.started = bytes(self.started), bytearray()
        return started

    async def next(self) -> bytes | MessageEnd:
        """The piece after that, or the end; UpstreamError if it breaks off."""
        if self.end:
            return self.end
        try:
            return _piece(await _event(self.channel, self.silence))
        except ConnectionGoneError as gone:
            raise UpstreamError(UpstreamFailure.CUT, "The replica's response broke off.") from gone

    async def read_ahead(self) -> bytes | MessageEnd:
        """The next piece, which is stored as well."""
        try:
            piece = _piece(await _event(self.channel, self.silence))
        except ConnectionGoneError as gone:
            raise UpstreamError(UpstreamFailure.BROKEN, "The replica's response broke off at its start.") from gone
        if isinstance(piece, MessageEnd):
            self.end = piece
        else:
            self.started += piece
        return piece


async def send_request(
    pool: UpstreamPool,
    replica: Replica,
    head: RequestHead,
    body: RequestBody,
    *,
    silence: float,
    may_store: Callable[[], bool],
    fresh: bool = False,
) -> UpstreamResponse:
    """The replica's response to the request; UpstreamError if it gives none that counts.

    `silence`: seconds after which a replica that sends nothing has failed. `may_store`: whether there is a place for
    the start of the response, where much of it has to be read to judge it. `fresh`: on a new connection.
    """
    try:
        channel, reused = await pool.get(replica.address, fresh=fresh)
    except (OSError, TimeoutError) as error:
        raise UpstreamError(UpstreamFailure.NO_CONNECTION, "The replica can't be reached.") from error
    try:
        return await _send_request(channel, head, body, silence, may_store)
    except UpstreamError as error:
        if not error.response:
            channel.abort()
        raise
    except ConnectionGoneError as gone:
        channel.abort()
        failure = UpstreamFailure.STALE if reused else UpstreamFailure.BROKEN
        raise UpstreamError(failure, "The replica closed the connection.") from gone
    except BaseException:
        channel.abort()
        raise


async def _send_request(
    channel: ReplicaChannel, head: RequestHead, body: RequestBody, silence: float, may_store: Callable[[], bool]
) -> UpstreamResponse:
    channel.parser.expect(head.method)
    response_head, sent_all = await _send(channel, head, body, silence)
    response = UpstreamResponse(response_head, channel, silence, may_reuse=response_head.keep_alive and sent_all)
    if body.can_be_sent_again:
        if response_head.status == HTTPStatus.SERVICE_UNAVAILABLE:
            turned_away = await _is_turned_away(response)
            failure = UpstreamFailure.TURNED_AWAY if turned_away else UpstreamFailure.UNAVAILABLE
            raise UpstreamError(failure, "The replica says that it is unavailable.", response)
        if response_head.status == HTTPStatus.OK:
            await _judge(response, may_store)
    return response


async def _send(
    channel: ReplicaChannel, head: RequestHead, body: RequestBody, silence: float
) -> tuple[ResponseHead, bool]:
    """Sends the request; returns the head of the response, and whether all of the request was sent before it."""
    length = body.stored.size if body.can_be_sent_again and not body.trailers else body.length
    first_line = b"%b %b HTTP/1.1" % (head.method, head.target)
    headers = [*end_to_end(head.headers), VIA]
    has_no_body = length == 0 and head.get(b"content-length") is None
    head_bytes = written(first_line, headers if has_no_body else framed(headers, length))
    chunked = length is None
    if body.can_be_sent_again and body.stored.size <= SHORT and not chunked:
        channel.write(head_bytes + b"".join(body.stored))
        return _head(await _event(channel, silence)), True
    channel.write(head_bytes)
    if not body.is_complete or body.stored.size > BLOCK:
        return await _send_slowly(channel, body, silence, chunked=chunked)
    await _send_body(channel, body, chunked=chunked)
    return _head(await _event(channel, silence)), True


async def _send_slowly(
    channel: ReplicaChannel, body: RequestBody, silence: float, *, chunked: bool
) -> tuple[ResponseHead, bool]:
    """A replica may respond before it has received all; then it is sent no more."""
    sending = asyncio.create_task(_send_body(channel, body, chunked=chunked))
    reading = asyncio.create_task(channel.event())
    try:
        await asyncio.wait((sending, reading), return_when=asyncio.FIRST_COMPLETED)
        if not reading.done() and not isinstance(sending.exception(), ConnectionGoneError):
            await sending
        head = _head(await _within(silence, reading))
        return head, sending.done() and not sending.exception()
    finally:
        sending.cancel()
        reading.cancel()
        await asyncio.gather(sending, reading, return_exceptions=True)


async def _send_body(channel: ReplicaChannel, body: RequestBody, *, chunked: bool) -> None:
    for block in body.stored:
        await write_piece(channel, block, chunked=chunked)
    if not body.is_complete:
        await body.pass_on(channel, chunked=chunked)
    if chunked:
        channel.write(last_chunk(trailers(body.trailers)))


async def _judge(response: UpstreamResponse, may_store: Callable[[], bool]) -> None:
    """Reads as much of the response as it takes to know that it is no empty abort, and as there is a place for."""
    detector = AbortDetector(response.head.get(b"content-type") or b"")
    while not detector.is_decided:
        piece = await response.read_ahead()
        if not isinstance(piece, bytes):
            detector.end()
            continue
        if len(response.started) > SHORT and not may_store():
            return
        if detector.add(piece):
            await in_steps(detector.rest())
    if detector.is_abort:
        raise UpstreamError(UpstreamFailure.EMPTY_ABORT, "The replica is shutting down and has responded nothing.")


async def _is_turned_away(response: UpstreamResponse) -> bool:
    """Whether the guard says in its error that no work was done for the request."""
    received = b""
    try:
        async with asyncio.timeout(ERROR_WITHIN):
            while not isinstance(piece := await response.read_ahead(), MessageEnd):
                received += piece
                if len(received) > LONGEST_ERROR:
                    return False
    except TimeoutError:
        return False
    try:
        error = json.loads(received)["error"]
        return isinstance(error, dict) and error.get("code") in TURNED_AWAY
    except (ValueError, LookupError, TypeError, RecursionError):
        return False


async def _event(channel: ReplicaChannel, silence: float) -> HttpEvent:
    try:
        return channel.event_at_hand() or await channel.event(within=silence)
    except TimeoutError:
        raise _silent(silence) from None


async def _within(silence: float, event: asyncio.Task[HttpEvent]) -> HttpEvent:
    try:
        async with asyncio.timeout(silence):
            return await event
    except TimeoutError:
        raise _silent(silence) from None


def _silent(seconds: float) -> UpstreamError:
    return UpstreamError(UpstreamFailure.SILENT, f"The replica has sent nothing for {seconds:.0f} s.")


def _head(event: HttpEvent) -> ResponseHead:
    if isinstance(event, ResponseHead):
        return event
    raise _nonsense(event)


def _piece(event: HttpEvent) -> bytes | MessageEnd:
    if isinstance(event, bytes | MessageEnd):
        return event
    raise _nonsense(event)


def _nonsense(event: HttpEvent) -> UpstreamError:
    message = event.message if isinstance(event, MalformedMessageError) else "The replica sent no response."
    return UpstreamError(UpstreamFailure.NONSENSE, message)
