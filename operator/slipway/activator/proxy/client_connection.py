"""The connection of one client to a model's port, and the requests on it, one after the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from slipway.activator.http1.channel import Channel, ConnectionGoneError, PeerStalledError
from slipway.activator.http1.heads import MalformedMessageError, RequestHead
from slipway.activator.http1.parsing import RequestParser
from slipway.activator.proxy import error_responses
from slipway.activator.proxy.access.authorization import Authorizer
from slipway.activator.proxy.config import ProxyConfig
from slipway.activator.proxy.counters import CloseReason
from slipway.activator.proxy.error_responses import ErrorResponse
from slipway.activator.proxy.request import RequestHandler
from slipway.activator.proxy.request_queue import RequestQueue
from slipway.activator.proxy.response import ClientResponse
from slipway.activator.proxy.upstream_pool import UpstreamPool
from slipway.process.connection_limits import MOST_TURNED_AWAY, ConnectionLimits, ConnectionState, Counted, Limit

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ServedPort:
    """What all connections to the port of one model share; `places` are the port's limits among those of all ports."""

    queue: RequestQueue
    pool: UpstreamPool
    config: ProxyConfig
    authorizer: Authorizer
    limits: ConnectionLimits
    places: Sequence[Limit]

    @contextmanager
    def turning_away(self) -> Iterator[float]:
        """A connection without a place; yields for how many seconds it may still be read from. Few are at a time."""
        self.limits.turned_away += 1
        try:
            yield self.config.linger if self.limits.turned_away <= MOST_TURNED_AWAY else 0.0
        finally:
            self.limits.turned_away -= 1

    def count(self, reason: str) -> None:
        """A connection that was closed, or refused, without a request that could be handled."""
        self.queue.count_refusal(reason)


class ClientConnection:
    """One client's connection, until the client goes, and with it whatever is still done for the client.

    `on_open` and `on_closed` are called with the connection itself.
    """

    def __init__(
        self,
        port: ServedPort,
        *,
        on_open: Callable[[ClientConnection], None],
        on_closed: Callable[[ClientConnection], None],
    ) -> None:
        self._port = port
        self._on_open, self._on_closed = on_open, on_closed
        self.channel = Channel(RequestParser(), on_open=self._open)
        self.counted: Counted | None = None  # None: there is no place for it
        self.is_busy = False
        self.task: asyncio.Task[None] | None = None

    def _open(self) -> None:
        self.task = asyncio.create_task(self._run())
        self.channel.on_gone = self._end
        self.channel.on_half_closed = self._is_owed_a_response
        self.counted = self._port.limits.enter(self._port.places, self.channel.peer, close=self.make_room)
        self._port.queue.counters.connections += 1
        self._on_open(self)

    def shut(self) -> None:
        """Answers what has been received by now, and no more. Of a head that has started, the rest is waited for."""
        self.channel.take_no_more()
        if not (self._is_owed_a_response() or self.channel.parser.has_started_head):
            self.channel.close()

    def make_room(self) -> None:
        """Closes it for another connection."""
        self._port.count(CloseReason.MADE_ROOM)
        self.channel.abort()

    def _end(self) -> None:
        """The client has gone: nothing more is done for it."""
        if self.task:
            self.task.cancel()

    def _is_owed_a_response(self) -> bool:
        """Whether a client that will send nothing more waits for a response."""
        return self.is_busy or self.channel.has_unread

    async def _run(self) -> None:
        try:
            await self._serve()
            await self.channel.flush()  # until then, it keeps its place
            if self.channel.has_unread and not self.channel.is_ending:
                await self.channel.linger(self._port.config.linger)  # or it might not see its last response
        except PeerStalledError:
            self._port.count(CloseReason.ANSWER_NOT_TAKEN)
        except (ConnectionGoneError, TimeoutError):
            pass
        except asyncio.CancelledError:
            if not self.channel.is_gone:
                self.channel.abort()
        except Exception:
            logger.exception("A request failed because of a bug in the activator")
            self.channel.abort()
        finally:
            self.channel.close()
            self.channel.parser.release()
            self._leave()

    def _leave(self) -> None:
        self._port.queue.counters.connections -= 1
        if self.counted:
            self.counted.leave()
            self.counted = None
        self._on_closed(self)

    async def _serve(self) -> None:
        config = self._port.config
        counted = self.counted
        if counted is None:
            with self._port.turning_away() as linger:
                await self._refuse(error_responses.too_many_connections(), linger)
            return
        timeout = config.head_timeout
        while self.channel.takes_more:
            try:
                head = await self.channel.event(within=timeout)
            except TimeoutError:
                self._count_silence(counted)
                return
            if isinstance(head, MalformedMessageError):
                await self._refuse(error_responses.invalid(head.status, head.message), config.linger)
                return
            if not isinstance(head, RequestHead):
                raise RuntimeError(f"the parser gave {type(head).__name__} where a request starts")
            if not await self._handle(head, counted):
                return
            await self.channel.drain()  # or a client that reads no responses could have any number of them written
            timeout = config.head_timeout if counted.state is ConnectionState.SILENT else config.idle_timeout

    async def _handle(self, head: RequestHead, counted: Counted) -> bool:
        """Returns whether another request may follow. A client that isn't authorized doesn't count as one that has sent
        a request: its connection is closed first when another one needs the place."""
        before = counted.state
        port = self._port
        handler = RequestHandler(port.queue, port.pool, self.channel, head, port.config, port.authorizer)
        self.is_busy = True
        counted.turn(ConnectionState.BUSY)
        try:
            return await handler.run()
        finally:
            self.is_busy = False
            counted.turn(ConnectionState.IDLE if handler.is_authorized else before)

    def _count_silence(self, counted: Counted) -> None:
        if self.channel.parser.has_started_head:
            self._port.count(CloseReason.HEAD_TOO_SLOW)
        elif counted.state is ConnectionState.SILENT:
            self._port.count(CloseReason.SILENT)

    async def _refuse(self, error: ErrorResponse, linger: float) -> None:
        self._port.count(error.reason)
        ClientResponse(self.channel, None, self._port.config.runbooks).refuse(error)
        await self.channel.linger(linger)
