"""One request, from its arrival to the last byte of its answer."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from http import HTTPStatus
from itertools import chain

from slipway.activator.http1.channel import ClientChannel, ConnectionGoneError, PeerStalledError
from slipway.activator.http1.heads import MalformedMessageError, RequestHead
from slipway.activator.http1.loop_budget import in_steps
from slipway.activator.http1.parsing import MessageEnd
from slipway.activator.proxy import access_errors, error_responses, routes
from slipway.activator.proxy.access.authorization import Authorization
from slipway.activator.proxy.client_identity import Client
from slipway.activator.proxy.config import ProxyConfig
from slipway.activator.proxy.error_responses import ErrorResponse, RefusedRequestError
from slipway.activator.proxy.event_stream import heartbeat
from slipway.activator.proxy.local_responses import AnsweredLocallyError, LocalResponse
from slipway.activator.proxy.request_body import UNREAD, RequestBody
from slipway.activator.proxy.request_queue import QueuedRequest, RequestQueue
from slipway.activator.proxy.response import ClientResponse
from slipway.activator.proxy.retry_policy import UpstreamFailure, may_retry
from slipway.activator.proxy.stream_detection import looking
from slipway.activator.proxy.upstream import UpstreamError, UpstreamResponse, send_request
from slipway.activator.proxy.upstream_pool import UpstreamPool
from slipway.activator.shared import request_line
from slipway.activator.shared.replica import Replica

WISH_AFTER = 0.02  # seconds between two looks whether it is known that a client wants a stream
ASK_AGAIN_AFTER = 1  # seconds, where an engine that is unavailable names none

# What a request takes beside its body, as `make bench-activator-memory` measures it.
WEIGHT = 24 * 1024
WEIGHT_OF_HEADER = 320
COPIES_OF_HEAD = 3  # at a wake, when all are sent at once

LOOK_AFTER = 1.0  # seconds between two looks whether a client is still there of whose body we don't read all yet


class RequestHandler:
    def __init__(
        self, gate: RequestQueue, pool: UpstreamPool, channel: ClientChannel, head: RequestHead, options: ProxyConfig
    ) -> None:
        self._gate = gate
        self._pool = pool
        self._channel = channel
        self._head = head
        self._options = options
        self._reply = ClientResponse(channel, head)
        self._body = RequestBody(channel, head, options)
        self._wants_stream: asyncio.Task[bool] | None = None
        self._admitted = Authorization()
        self.was_let_in = False
        self._loop = asyncio.get_running_loop()

    async def run(self) -> bool:
        """Whether the connection may be used for another request. GoneError if the client went away."""
        held = self._loop.time()
        try:
            await self._serve()
        except AnsweredLocallyError as answered:
            await self._tell(answered.told)
        except RefusedRequestError as refused:
            await self._refuse(refused.refusal, self._loop.time() - held)
        except MalformedMessageError as malformed:
            await self._refuse(error_responses.invalid(malformed.status, malformed.message), 0.0)
        except TimeoutError:
            message = "The request's body has not come."
            await self._refuse(error_responses.invalid(HTTPStatus.REQUEST_TIMEOUT, message), 0.0)
        finally:
            if self._wants_stream:
                self._wants_stream.cancel()
        return self._reply.keep_alive

    async def _serve(self) -> None:
        client = self._options.clients.of(self._channel.peer, self._head.headers)
        await self._pass_the_door(client)
        owner = self._admitted.owner
        await self._hold(replace(client, owner=owner) if owner else client)

    async def _hold(self, client: Client) -> None:
        """From its head to the end of its answer."""
        overhead = weight(self._head)
        body = self._body
        body.may_keep(self._gate.most_kept(client, beside=overhead + 2 * UNREAD))
        with self._gate.visit(client, self._head, overhead=overhead, announced=body.announced) as visit:
            await body.keep(visit.grow, until=visit.ticket.deadline)
            answer = await self._answer(visit, body)
            try:
                visit.answered()
                body.forget()
                await self._pass_on(answer, visit)
            except BaseException:
                answer.channel.abort()
                raise

    async def _pass_the_door(self, client: Client) -> None:
        """RefusedError for those who are not let in; ToldError for what takes no replica, and no place."""
        self._body.must_fit()
        doorkeeper, peer = self._gate.doorkeeper, self._channel.peer
        self._admitted = await doorkeeper.admit(self._gate.known, peer, self._head, client=client)
        self.was_let_in = True
        if told := self._gate.asleep(self._head):
            raise AnsweredLocallyError(told)

    async def _tell(self, told: LocalResponse) -> None:
        """What a replica would say, to those to whom it would."""
        asked = request_line.of(self._head)
        if not self._admitted.is_trusted and routes.needs_key(self._gate.known.rules, asked):
            await self._refuse(access_errors.keys_later(), 0.0)  # only it could have told whether the key is valid
            return
        if self._body.is_unasked or not await self._body.discard():
            self._reply.keep_alive = False
        self._reply.tell(told.status, told.headers, told.body)

    async def _answer(self, visit: QueuedRequest, body: RequestBody) -> UpstreamResponse:
        """The first answer of a replica that counts. What may be tried again is, as long as the request may wait."""
        replica = await self._turn(visit, body)
        while True:
            try:
                return await self._ask(replica, visit, body)
            except UpstreamError as failed:
                visit.failed(failed.failure)
                if not may_retry(failed.failure, sent=False, replayable=body.can_be_sent_again, tries=visit.tries):
                    return _last_resort(failed)
                if failed.answer:
                    failed.answer.channel.abort()
                if failed.failure is not UpstreamFailure.STALE:
                    replica = await self._turn(visit, body)

    async def _ask(self, replica: Replica, visit: QueuedRequest, body: RequestBody) -> UpstreamResponse:
        fresh = visit.tries > 0 or not body.can_be_sent_again  # one that was kept open may end before it hears of this
        silence = self._options.silence
        keep = visit.keep_answer
        return await send_request(self._pool, replica, self._head, body, fresh=fresh, silence=silence, keep=keep)

    async def _turn(self, visit: QueuedRequest, body: RequestBody) -> Replica:
        """Waits for a replica, and tells a client that wants a stream what it waits for."""
        turn = visit.queue()
        if turn.done():
            return turn.result()
        beat = self._next_beat(visit)
        while not turn.done():
            now = self._loop.time()
            look = math.inf if body.is_complete else now + LOOK_AFTER
            await asyncio.wait((turn,), timeout=max(0.0, min(visit.ticket.deadline, beat, look) - now))
            now = self._loop.time()
            if turn.done():
                break
            if now >= visit.ticket.deadline:
                raise visit.overdue()
            if self._channel.has_peer_left():
                raise ConnectionGoneError("the client has gone away")
            if now >= beat:
                beat = self._beat(visit, body, now)
        return turn.result()

    def _next_beat(self, visit: QueuedRequest) -> float:
        every = self._gate.known.limits.heartbeat
        since = self._loop.time() if self._reply.has_begun else visit.ticket.arrived
        return since + every

    def _beat(self, visit: QueuedRequest, body: RequestBody, now: float) -> float:
        """Returns when the next heartbeat is due."""
        if self._wants_stream is None:
            self._wants_stream = self._loop.create_task(in_steps(looking(body.kept)))
        if not self._wants_stream.done():
            return now + WISH_AFTER
        if not self._wants_stream.result():
            return math.inf
        known = self._gate.known
        elapsed = self._gate.waking_for or now - visit.ticket.arrived
        cause = known.cause if self._admitted.is_trusted else None
        text = heartbeat(elapsed=elapsed, expected=known.expected_wake, step=known.step, cause=cause)
        self._reply.heartbeat(text)
        return now + known.limits.heartbeat

    async def _pass_on(self, answer: UpstreamResponse, visit: QueuedRequest) -> None:
        if visit.was_held or self._gate.known.is_direct or not self._body.is_complete:
            self._reply.keep_alive = False  # the client's next connection finds the direct way
        self._reply.begin(answer.head, held=visit.held, first=answer.take_begun())
        try:
            while True:
                if self._channel.is_stalled or visit.keeps_answer:
                    await self._until_taken(visit)
                if isinstance(piece := await answer.next(), MessageEnd):
                    break
                self._reply.data(piece)
        except UpstreamError as failed:
            answer.channel.abort()
            self._reply.break_off(error_responses.lost(str(failed)))
            return
        self._reply.end(piece.trailers)
        if answer.may_reuse and visit.replica:
            self._pool.give_back(visit.replica.address, answer.channel)
        else:
            answer.channel.abort()

    async def _until_taken(self, visit: QueuedRequest) -> None:
        """What a slow client leaves here has a place, as bodies have: whoever finds none is given up."""
        if self._channel.is_stalled and not visit.keep_answer():
            self._channel.abort()
            raise PeerStalledError("the peer is slow, and there is no place for what it leaves here")
        await self._reply.drain()
        visit.pass_on_answer()

    async def _refuse(self, refusal: ErrorResponse, held: float) -> None:
        """Says so, and listens for a while to what the client still sends, or it might not see the refusal. Where
        all of this request is here, the next one may be, too."""
        is_whole = self._body.is_complete or self._body.discard_at_hand()
        if not is_whole:
            self._reply.keep_alive = False
        self._gate.tally.refused[refusal.reason] += 1
        self._reply.refuse(refusal if self._admitted.is_trusted else error_responses.in_short(refusal), held=held)
        if not is_whole and not self._body.is_unasked:
            await self._body.discard()


def _last_resort(failed: UpstreamError) -> UpstreamResponse:
    """What the engine has said itself, where it has said something, with the time after which to ask again."""
    if failed.answer is None:
        raise RefusedRequestError(error_responses.lost(str(failed))) from failed
    head = failed.answer.head
    if head.get(b"retry-after") is None:
        head = head._replace(headers=[*head.headers, (b"retry-after", b"%d" % ASK_AGAIN_AFTER)])
    return replace(failed.answer, head=head)


def weight(head: RequestHead) -> int:
    """Bytes that a request takes while it is here, its body aside."""
    size = len(head.target) + sum(map(len, chain.from_iterable(head.headers)))
    return WEIGHT + COPIES_OF_HEAD * size + WEIGHT_OF_HEADER * len(head.headers)
