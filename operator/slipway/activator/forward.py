"""One try: a request to a replica, and the beginning of its answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from http import HTTPStatus

from slipway.activator.aborts import Beginning
from slipway.activator.body import Body
from slipway.activator.http1.channel import GoneError, ReplicaChannel
from slipway.activator.http1.heads import (
    VIA,
    AnswerHead,
    MalformedError,
    RequestHead,
    chunk,
    end_to_end,
    framed,
    last_chunk,
    trailers,
    written,
)
from slipway.activator.http1.parsing import End, Event
from slipway.activator.picking import Failure, Replica
from slipway.activator.pool import Pool


class FailedError(Exception):
    """The replica gave no answer that counts."""

    def __init__(self, failure: Failure, message: str) -> None:
        super().__init__(message)
        self.failure = failure


@dataclass
class Answer:
    """An answer that counts, of which nothing has been passed on yet."""

    head: AnswerHead
    begun: list[bytes | End]  # what has been read of its body to judge it
    channel: ReplicaChannel
    may_reuse: bool  # the connection, once the answer is complete

    async def next(self) -> bytes | End:
        """The next piece, or the end; FailedError if it breaks off."""
        if self.begun:
            return self.begun.pop(0)
        try:
            event = await self.channel.event()
        except GoneError as gone:
            raise FailedError(Failure.CUT, "The replica's answer broke off.") from gone
        return _piece(event)


async def ask(pool: Pool, replica: Replica, head: RequestHead, body: Body) -> Answer:
    """The replica's answer to the request; FailedError if it gives none that counts."""
    while True:
        try:
            channel, reused = await pool.get(replica.address)
        except (OSError, TimeoutError) as error:
            raise FailedError(Failure.NO_CONNECTION, "The replica can't be reached.") from error
        try:
            return await _ask(channel, head, body)
        except GoneError as gone:
            channel.abort()
            if not (reused and body.can_be_sent_again):  # one that was kept open may have ended just now
                raise FailedError(Failure.NO_CONNECTION, "The replica closed the connection.") from gone
        except BaseException:
            channel.abort()
            raise


async def _ask(channel: ReplicaChannel, head: RequestHead, body: Body) -> Answer:
    channel.parser.expect(head.method)
    answer_head, sent_all = await _send(channel, head, body)
    answer = Answer(answer_head, [], channel, may_reuse=answer_head.keep_alive and sent_all)
    if body.can_be_sent_again:
        if answer_head.status == HTTPStatus.SERVICE_UNAVAILABLE:
            raise FailedError(Failure.UNAVAILABLE, "The replica says that it is unavailable.")
        if answer_head.status == HTTPStatus.OK:
            await _judge(answer)
    return answer


async def _send(channel: ReplicaChannel, head: RequestHead, body: Body) -> tuple[AnswerHead, bool]:
    """Sends the request; returns the head of the answer, and whether all of the request was sent before it."""
    length = len(body.kept) if body.can_be_sent_again and not body.trailers else body.length
    first_line = b"%b %b HTTP/1.1" % (head.method, head.target)
    headers = [*end_to_end(head.headers), VIA]
    has_no_body = length == 0 and head.get(b"content-length") is None
    message = written(first_line, headers if has_no_body else framed(headers, length))
    kept = body.kept
    wrap = chunk if length is None else bytes
    channel.write(message + wrap(kept) if kept else message)
    if not body.is_complete:
        return await _send_rest(channel, body, chunked=length is None)
    if length is None:
        channel.write(last_chunk(trailers(body.trailers)))
    return _head(await channel.event()), True


async def _send_rest(channel: ReplicaChannel, body: Body, *, chunked: bool) -> tuple[AnswerHead, bool]:
    """A replica may answer before it has heard all; then it hears no more."""
    sending = asyncio.create_task(_pass_on(channel, body, chunked=chunked))
    reading = asyncio.create_task(channel.event())
    try:
        await asyncio.wait((sending, reading), return_when=asyncio.FIRST_COMPLETED)
        if not reading.done() and not isinstance(sending.exception(), GoneError):
            await sending
        return _head(await reading), sending.done() and not sending.exception()
    finally:
        sending.cancel()
        reading.cancel()
        await asyncio.gather(sending, reading, return_exceptions=True)


async def _pass_on(channel: ReplicaChannel, body: Body, *, chunked: bool) -> None:
    await body.pass_on(channel, chunk if chunked else bytes)
    if chunked:
        channel.write(last_chunk(trailers(body.trailers)))


async def _judge(answer: Answer) -> None:
    """Reads as much of the answer as it takes to know that it is one."""
    beginning = Beginning(answer.head.get(b"content-type") or b"")
    while not beginning.is_decided:
        piece = _piece(await answer.channel.event())
        answer.begun.append(piece)
        if isinstance(piece, bytes):
            beginning.add(piece)
        else:
            beginning.end()
    if beginning.is_abort:
        raise FailedError(Failure.EMPTY_ABORT, "The replica is ending and has answered nothing.")


def _head(event: Event) -> AnswerHead:
    if isinstance(event, AnswerHead):
        return event
    raise FailedError(Failure.NONSENSE, event.message if isinstance(event, MalformedError) else "No answer came.")


def _piece(event: Event) -> bytes | End:
    if isinstance(event, bytes | End):
        return event
    raise FailedError(Failure.NONSENSE, event.message if isinstance(event, MalformedError) else "No answer came.")
