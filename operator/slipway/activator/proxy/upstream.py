"""One try: a request to a replica, and the beginning of its answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

from slipway.activator.http1.channel import ConnectionGoneError, ReplicaChannel
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
from slipway.activator.http1.parsing import HttpEvent, MessageEnd
from slipway.activator.proxy.empty_aborts import AbortDetector
from slipway.activator.proxy.request_body import BLOCK, RequestBody, write_piece
from slipway.activator.proxy.retry_policy import UpstreamFailure
from slipway.activator.proxy.upstream_pool import UpstreamPool
from slipway.activator.shared.replica import Replica

TURNED_AWAY = frozenset({"draining", "overloaded"})
"""Codes of the guard's 503 for a request on which no work was done."""
SHORT = 4096  # bytes: of an answer, kept to judge it without a place of their own; of a body, sent with its head
LONGEST_ERROR = 4096  # bytes of a 503 that are read to find its code
ERROR_WITHIN = 5.0  # seconds


class UpstreamError(Exception):
    """The replica gave no answer that counts."""

    def __init__(self, failure: UpstreamFailure, message: str, answer: UpstreamResponse | None = None) -> None:
        """`answer`: what it said instead, which can be passed on if nothing better comes; or its channel is closed."""
        super().__init__(message)
        self.failure = failure
        self.answer = answer


@dataclass
class UpstreamResponse:
    """An answer of which nothing has been passed on yet."""

    head: ResponseHead
    channel: ReplicaChannel
    silence: float
    may_reuse: bool  # the connection, once the answer is complete
    begun: bytearray = field(default_factory=bytearray)  # what has been read of its body to judge it: as one, since
    # each of very small pieces would take many times what is in it
    end: MessageEnd | None = None  # which has been read as well

    def take_begun(self) -> bytes:
        """What has been read of its body already."""
        begun, self.begun = bytes(self.begun), bytearray()
        return begun

    async def next(self) -> bytes | MessageEnd:
        """The piece after that, or the end; FailedError if it breaks off."""
        if self.end:
            return self.end
        try:
            return _piece(await _event(self.channel, self.silence))
        except ConnectionGoneError as gone:
            raise UpstreamError(UpstreamFailure.CUT, "The replica's answer broke off.") from gone

    async def begin(self) -> bytes | MessageEnd:
        """The next piece, which is kept as well."""
        try:
            piece = _piece(await _event(self.channel, self.silence))
        except ConnectionGoneError as gone:
            raise UpstreamError(UpstreamFailure.BROKEN, "The replica's answer broke off at once.") from gone
        if isinstance(piece, MessageEnd):
            self.end = piece
        else:
            self.begun += piece
        return piece


async def send_request(
    pool: UpstreamPool,
    replica: Replica,
    head: RequestHead,
    body: RequestBody,
    *,
    silence: float,
    keep: Callable[[], bool],
    fresh: bool = False,
) -> UpstreamResponse:
    """The replica's answer to the request; FailedError if it gives none that counts. `silence`: seconds after which a
    replica that says nothing has failed. `keep`: whether there is a place for the beginning of the answer, where it has
    to be long to be judged. `fresh`: on a connection of its own."""
    try:
        channel, reused = await pool.get(replica.address, fresh=fresh)
    except (OSError, TimeoutError) as error:
        raise UpstreamError(UpstreamFailure.NO_CONNECTION, "The replica can't be reached.") from error
    try:
        return await _ask(channel, head, body, silence, keep)
    except UpstreamError as failed:
        if not failed.answer:
            channel.abort()
        raise
    except ConnectionGoneError as gone:
        channel.abort()
        failure = UpstreamFailure.STALE if reused else UpstreamFailure.BROKEN
        raise UpstreamError(failure, "The replica closed the connection.") from gone
    except BaseException:
        channel.abort()
        raise


async def _ask(
    channel: ReplicaChannel, head: RequestHead, body: RequestBody, silence: float, keep: Callable[[], bool]
) -> UpstreamResponse:
    channel.parser.expect(head.method)
    answer_head, sent_all = await _send(channel, head, body, silence)
    answer = UpstreamResponse(answer_head, channel, silence, may_reuse=answer_head.keep_alive and sent_all)
    if body.can_be_sent_again:
        if answer_head.status == HTTPStatus.SERVICE_UNAVAILABLE:
            failure = UpstreamFailure.TURNED_AWAY if await _is_turned_away(answer) else UpstreamFailure.UNAVAILABLE
            raise UpstreamError(failure, "The replica says that it is unavailable.", answer)
        if answer_head.status == HTTPStatus.OK:
            await _judge(answer, keep)
    return answer


async def _send(
    channel: ReplicaChannel, head: RequestHead, body: RequestBody, silence: float
) -> tuple[ResponseHead, bool]:
    """Sends the request; returns the head of the answer, and whether all of the request was sent before it."""
    length = body.kept.size if body.can_be_sent_again and not body.trailers else body.length
    first_line = b"%b %b HTTP/1.1" % (head.method, head.target)
    headers = [*end_to_end(head.headers), VIA]
    has_no_body = length == 0 and head.get(b"content-length") is None
    begin = written(first_line, headers if has_no_body else framed(headers, length))
    chunked = length is None
    if body.can_be_sent_again and body.kept.size <= SHORT and not chunked:
        channel.write(begin + b"".join(body.kept))
        return _head(await _event(channel, silence)), True
    channel.write(begin)
    if not body.is_complete or body.kept.size > BLOCK:
        return await _send_slowly(channel, body, silence, chunked=chunked)
    await _send_body(channel, body, chunked=chunked)
    return _head(await _event(channel, silence)), True


async def _send_slowly(
    channel: ReplicaChannel, body: RequestBody, silence: float, *, chunked: bool
) -> tuple[ResponseHead, bool]:
    """A replica may answer before it has heard all; then it hears no more."""
    sending = asyncio.create_task(_send_body(channel, body, chunked=chunked))
    reading = asyncio.create_task(channel.event())
    try:
        await asyncio.wait((sending, reading), return_when=asyncio.FIRST_COMPLETED)
        if not reading.done() and not isinstance(sending.exception(), ConnectionGoneError):
            await sending
        answer = _head(await _within(silence, reading))
        return answer, sending.done() and not sending.exception()
    finally:
        sending.cancel()
        reading.cancel()
        await asyncio.gather(sending, reading, return_exceptions=True)


async def _send_body(channel: ReplicaChannel, body: RequestBody, *, chunked: bool) -> None:
    for block in body.kept:
        await write_piece(channel, block, chunked=chunked)
    if not body.is_complete:
        await body.pass_on(channel, chunked=chunked)
    if chunked:
        channel.write(last_chunk(trailers(body.trailers)))


async def _judge(answer: UpstreamResponse, keep: Callable[[], bool]) -> None:
    """Reads as much of the answer as it takes to know that it is one, and as there is a place for."""
    beginning = AbortDetector(answer.head.get(b"content-type") or b"")
    while not beginning.is_decided:
        piece = await answer.begin()
        if not isinstance(piece, bytes):
            beginning.end()
            continue
        if len(answer.begun) > SHORT and not keep():
            return
        if beginning.add(piece):
            await in_steps(beginning.rest())
    if beginning.is_abort:
        raise UpstreamError(UpstreamFailure.EMPTY_ABORT, "The replica is ending and has answered nothing.")


async def _is_turned_away(answer: UpstreamResponse) -> bool:
    """Whether the guard says in its error that no work was done for the request."""
    said = b""
    try:
        async with asyncio.timeout(ERROR_WITHIN):
            while not isinstance(piece := await answer.begin(), MessageEnd):
                said += piece
                if len(said) > LONGEST_ERROR:
                    return False
    except TimeoutError:
        return False
    try:
        error = json.loads(said)["error"]
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
    return UpstreamError(UpstreamFailure.SILENT, f"The replica has said nothing for {seconds:.0f} s.")


def _head(event: HttpEvent) -> ResponseHead:
    if isinstance(event, ResponseHead):
        return event
    raise UpstreamError(
        UpstreamFailure.NONSENSE, event.message if isinstance(event, MalformedMessageError) else "No answer came."
    )


def _piece(event: HttpEvent) -> bytes | MessageEnd:
    if isinstance(event, bytes | MessageEnd):
        return event
    raise UpstreamError(
        UpstreamFailure.NONSENSE, event.message if isinstance(event, MalformedMessageError) else "No answer came."
    )
