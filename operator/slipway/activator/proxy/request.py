"""One request, from its arrival to the last byte of its response."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import chain

from slipway.activator.http1.channel import ClientChannel, ConnectionGoneError, PeerStalledError
from slipway.activator.http1.framing import MessageEnd
from slipway.activator.http1.heads import MalformedMessageError, RequestHead
from slipway.activator.http1.loop_budget import in_steps
from slipway.activator.proxy import access_errors, error_responses, routes
from slipway.activator.proxy.access.authorization import Authorization, Authorizer
from slipway.activator.proxy.client_identity import Client
from slipway.activator.proxy.config import ProxyConfig
from slipway.activator.proxy.error_responses import ErrorResponse, RefusedRequestError
from slipway.activator.proxy.event_stream import heartbeat
from slipway.activator.proxy.hold_times import hold_of, with_hold
from slipway.activator.proxy.local_responses import AnsweredLocallyError, LocalResponse
from slipway.activator.proxy.queued_request import QueuedRequest
from slipway.activator.proxy.request_body import UNREAD, RequestBody
from slipway.activator.proxy.request_queue import RequestQueue
from slipway.activator.proxy.response import ClientResponse
from slipway.activator.proxy.retry_after import SHORTLY
from slipway.activator.proxy.retry_policy import UpstreamFailure, may_retry
from slipway.activator.proxy.stream_detection import detect_stream
from slipway.activator.proxy.upstream import UpstreamError, UpstreamResponse, send_request
from slipway.activator.proxy.upstream_pool import UpstreamPool
from slipway.activator.shared import request_line
from slipway.activator.shared.replica import Replica
from slipway.contract.hold import Hold

DETECTION_INTERVAL = 0.02  # seconds between two checks whether it is known that a client wants a stream

# What a request takes besides its body, as `make bench-activator-memory` measures it.
WEIGHT = 24 * 1024
WEIGHT_OF_HEADER = 320
COPIES_OF_HEAD = 3  # after a wake, when all requests are sent at the same time

PRESENCE_INTERVAL = 1.0
"""Seconds between two checks whether a client is still there from which we don't read the entire body yet."""


class RequestHandler:
    """Handles one request on a client's connection."""

    def __init__(
        self,
        queue: RequestQueue,
        pool: UpstreamPool,
        channel: ClientChannel,
        head: RequestHead,
        config: ProxyConfig,
        authorizer: Authorizer,
    ) -> None:
        self._queue = queue
        self._pool = pool
        self._channel = channel
        self._head = head
        self._config = config
        self._authorizer = authorizer
        self._response = ClientResponse(channel, head, config.runbooks)
        self._body = RequestBody(channel, head, config)
        self._wants_stream: asyncio.Task[bool] | None = None
        self._authorization = Authorization()
        self.is_authorized = False
        self._loop = asyncio.get_running_loop()

    async def run(self) -> bool:
        """Returns whether the connection may be used for another request. ConnectionGoneError if the client went
        away."""
        arrived = self._loop.time()
        try:
            await self._serve()
        except AnsweredLocallyError as answered:
            await self._respond_locally(answered.response)
        except RefusedRequestError as refused:
            await self._refuse(refused.error, self._loop.time() - arrived)
        except MalformedMessageError as malformed:
            await self._refuse(error_responses.invalid(malformed.status, malformed.message), 0.0)
        except TimeoutError:
            message = "The request's body was not received in time."
            await self._refuse(error_responses.invalid(HTTPStatus.REQUEST_TIMEOUT, message), 0.0)
        finally:
            if self._wants_stream:
                self._wants_stream.cancel()
        return self._response.keep_alive

    async def _serve(self) -> None:
        client = self._config.clients.of(self._channel.peer, self._head.headers)
        await self._authorize(client)
        if response := self._queue.local_response(self._head):
            raise AnsweredLocallyError(response)
        owner = self._authorization.owner
        await self._hold(replace(client, owner=owner) if owner else client)

    async def _authorize(self, client: Client) -> None:
        """RefusedRequestError for a request that isn't admitted."""
        self._body.must_fit()
        model = self._queue.state
        self._authorization = await self._authorizer.authorize(model, self._channel.peer, self._head, client=client)
        self.is_authorized = True

    async def _hold(self, client: Client) -> None:
        """Takes it through the queue, from its head to the end of its response."""
        overhead = weight(self._head)
        queue, body = self._queue, self._body
        body.may_store(queue.largest_body(client, overhead=overhead + 2 * UNREAD))
        request = queue.enter(client, self._head, overhead=overhead, announced=body.announced)
        try:
            await body.read(lambda size, overhead: queue.grow(request, size, overhead=overhead), until=request.deadline)
            upstream = await self._upstream_response(request)
            try:
                queue.responded(request)
                body.drop()
                await self._pass_on(upstream, request)
            except BaseException:
                upstream.channel.abort()
                raise
        finally:
            queue.leave(request)

    # --- until a replica responds ------------------------------------------------------------------------------------

    async def _upstream_response(self, request: QueuedRequest) -> UpstreamResponse:
        """The first response of a replica that counts. Retries what may be retried, while the request may wait."""
        replica = await self._wait_for_replica(request)
        while True:
            try:
                return await self._send(replica, request)
            except UpstreamError as error:
                self._queue.failed(request, error.failure)
                replayable = self._body.can_be_sent_again
                if not may_retry(error.failure, sent=False, replayable=replayable, tries=request.tries):
                    return _last_resort(error)
                if error.response:
                    error.response.channel.abort()
                if error.failure is not UpstreamFailure.STALE:
                    replica = await self._wait_for_replica(request)

    async def _send(self, replica: Replica, request: QueuedRequest) -> UpstreamResponse:
        body = self._body
        return await send_request(
            self._pool,
            replica,
            with_hold(self._head, self._hold_of(request, replica)),
            body,
            fresh=request.tries > 0 or not body.can_be_sent_again,  # a kept connection may be closed just now
            silence=self._config.silence,
            may_store=lambda: self._queue.store_response(request),
        )

    def _hold_of(self, request: QueuedRequest, replica: Replica) -> Hold | None:
        if request.held_at is None:
            return None
        now, wake = self._loop.time(), self._queue.last_wake
        wall = datetime.now(UTC)
        return hold_of(replica, arrived=request.arrived, held=request.held_at, wake=wake, now=now, wall=wall)

    async def _wait_for_replica(self, request: QueuedRequest) -> Replica:
        """Meanwhile, sends heartbeats to a client that wants a stream."""
        turn = self._queue.queue(request)
        if turn.done():
            return turn.result()
        beat = self._first_heartbeat(request)
        while not turn.done():
            now = self._loop.time()
            check = math.inf if self._body.is_complete else now + PRESENCE_INTERVAL
            await asyncio.wait((turn,), timeout=max(0.0, min(request.deadline, beat, check) - now))
            now = self._loop.time()
            if turn.done():
                break
            if now >= request.deadline:
                raise self._queue.overdue(request)
            if self._channel.has_peer_left():
                raise ConnectionGoneError("the client has gone away")
            if now >= beat:
                beat = self._heartbeat(request, now)
        return turn.result()

    def _first_heartbeat(self, request: QueuedRequest) -> float:
        """When it is due."""
        since = self._loop.time() if self._response.has_started else request.arrived
        return since + self._queue.state.limits.heartbeat

    def _heartbeat(self, request: QueuedRequest, now: float) -> float:
        """Returns when the next one is due."""
        if self._wants_stream is None:
            self._wants_stream = self._loop.create_task(in_steps(detect_stream(self._body.stored)))
        if not self._wants_stream.done():
            return now + DETECTION_INTERVAL
        if not self._wants_stream.result():
            return math.inf
        model = self._queue.state
        elapsed = self._queue.waking_for or now - request.arrived
        cause = model.cause if self._authorization.is_trusted else None
        text = heartbeat(elapsed=elapsed, expected=model.expected_wake, step=model.step, cause=cause)
        self._response.heartbeat(text)
        return now + model.limits.heartbeat

    # --- the response ------------------------------------------------------------------------------------------------

    async def _pass_on(self, upstream: UpstreamResponse, request: QueuedRequest) -> None:
        if request.was_held or self._queue.state.is_direct or not self._body.is_complete:
            self._response.keep_alive = False  # the client's next connection goes directly to a replica
        self._response.start(upstream.head, held=request.held, first=upstream.take_started())
        try:
            while True:
                if self._channel.is_stalled or request.stores_response:
                    await self._until_taken(request)
                if isinstance(piece := await upstream.next(), MessageEnd):
                    break
                self._response.data(piece)
        except UpstreamError as error:
            upstream.channel.abort()
            self._response.break_off(error_responses.lost(str(error)))
            return
        self._response.end(piece.trailers)
        if upstream.may_reuse and request.replica:
            self._pool.give_back(request.replica.address, upstream.channel)
        else:
            upstream.channel.abort()

    async def _until_taken(self, request: QueuedRequest) -> None:
        """What a slow client doesn't read needs a place, as bodies do; where there is none, the client is cut off."""
        if self._channel.is_stalled and not self._queue.store_response(request):
            self._channel.abort()
            raise PeerStalledError("the peer is slow, and there is no place for what it doesn't read")
        await self._response.drain()
        self._queue.release_response(request)

    async def _respond_locally(self, response: LocalResponse) -> None:
        """As a replica would respond, to clients that would get this response from it."""
        line = request_line.of(self._head)
        if not self._authorization.is_trusted and routes.needs_key(self._queue.state.rules, line):
            await self._refuse(access_errors.keys_later(), 0.0)  # only a replica could have checked the key
            return
        if self._body.is_unrequested or not await self._body.discard():
            self._response.keep_alive = False
        self._response.respond(response.status, response.headers, response.body)

    async def _refuse(self, error: ErrorResponse, held: float) -> None:
        """Responds, and reads for a while what the client still sends, or it might not see the response. If the entire
        request has been received, the next one may follow on the connection."""
        is_complete = self._body.is_complete or self._body.discard_received()
        if not is_complete:
            self._response.keep_alive = False
        self._queue.count_refusal(error.reason)
        self._response.refuse(error if self._authorization.is_trusted else error_responses.in_short(error), held=held)
        if not is_complete and not self._body.is_unrequested:
            await self._body.discard()


def _last_resort(error: UpstreamError) -> UpstreamResponse:
    """What the engine itself responded, if it did, with a Retry-After."""
    if error.response is None:
        raise RefusedRequestError(error_responses.lost(str(error))) from error
    head = error.response.head
    if head.get(b"retry-after") is None:
        head = head._replace(headers=[*head.headers, (b"retry-after", b"%d" % SHORTLY)])
    return replace(error.response, head=head)


def weight(head: RequestHead) -> int:
    """Bytes that a request takes while it is here, besides its body."""
    size = len(head.target) + sum(map(len, chain.from_iterable(head.headers)))
    return WEIGHT + COPIES_OF_HEAD * size + WEIGHT_OF_HEADER * len(head.headers)
