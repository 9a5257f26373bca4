"""The guard in an ASGI app: `vllm serve --middleware slipway_runtime.guard.asgi.Guard`.

It stands before everything that the app serves. An answer's first words are held until its first piece is there, for
until then it can still become an error. After that a piece costs one plain call: `send` is no coroutine of its own.

By the time of its next token, the engine's server has driven all of a stream out of the processor's caches, so what a
token costs is what is touched for it, more than what is computed: several times of what a loop would show.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator, MutableMapping
from functools import cache
from typing import Any

from slipway_runtime.guard import answers, errors
from slipway_runtime.guard.errors import Refusal
from slipway_runtime.guard.gate import Gate
from slipway_runtime.guard.visit import Visit

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

VISIT = "slipway.visit"
"""In a request's scope: the account of it."""

POLICY_VIOLATION = 1008  # why a WebSocket is closed


class EngineGone(Exception):  # noqa: N818 - it is what happened
    """What an app raises whose engine has ended the connection before its answer was complete."""


class Guard:
    def __init__(self, app: App, gate: Gate | None = None) -> None:
        self._app = app
        self._gate = gate or _gate_of_this_process()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._gate.watch()
        match scope["type"]:
            case "http":
                await self._http(scope, receive, send)
            case "websocket":
                await self._websocket(scope, receive, send)
            case _:
                await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        gate = self._gate
        visit, refusal = gate.enter(scope["method"], _path(scope), _headers(scope))
        exchange = _Exchange(gate, visit, receive, send)
        try:
            if refusal:
                await exchange.refuse(refusal)
            else:
                scope[VISIT] = visit
                _tell_the_engine(scope, visit, traced=gate.traces(visit))
                await self._app(scope, exchange.receive, exchange.send)
                await exchange.finish()
        except asyncio.CancelledError:
            if not _cut_by_us(visit):
                visit.client_left()
                raise
            await exchange.refuse(gate.cut(visit))
        except EngineGone:
            await exchange.refuse(gate.failed(visit))
        except Exception:
            visit.status, visit.reason = 500, "engine_error"
            raise
        finally:
            gate.leave(visit)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        visit, refusal = self._gate.enter("GET", _path(scope), _headers(scope))
        try:
            if refusal:
                await receive()  # the wish to connect
                await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": refusal.code})
            else:
                visit.status = 101
                await self._app(scope, receive, send)
        finally:
            self._gate.leave(visit)


class _Exchange:
    """One request's messages, in both directions."""

    __slots__ = ("_begun", "_body_left", "_gate", "_over", "_receive", "_send", "_start", "_tail", "_visit")

    def __init__(self, gate: Gate, visit: Visit, receive: Receive, send: Send) -> None:
        self._gate = gate
        self._visit = visit
        self._receive = receive
        self._send = send
        self._start: Message | None = None
        """The answer's first words, while they are held."""
        self._begun = False
        self._over = False
        self._tail = b""
        """How the stream's last piece ended, if it was a token like most; else empty."""
        self._body_left = gate.settings.max_body_bytes

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            if not self._over:
                self._visit.client_left()
            return message
        self._visit.body_bytes += len(message.get("body", b""))
        self._body_left = self._gate.settings.max_body_bytes - self._visit.body_bytes
        return message if self._body_left >= 0 else {"type": "http.disconnect"}

    def send(self, message: Message) -> Awaitable[None]:
        if self._tail and message.get("more_body") and answers.is_token(message.get("body", b""), self._tail):
            self._visit.events += 1
            self._gate.untold += 1
            return self._send(message)
        return self._look_at(message)

    def _look_at(self, message: Message) -> Awaitable[None]:
        if self._over:
            return NOTHING
        match message["type"]:
            case "http.response.body" if self._start is None:
                return self._next(message)
            case "http.response.body":
                return self._first(message)
            case "http.response.start":
                self._visit.answer(message["status"], _content_type(message))
                self._start = message
                return NOTHING
        return self._send(message)

    def _next(self, message: Message) -> Awaitable[None]:
        body = message.get("body", b"")
        if refusal := self._gate.piece(self._visit, body):
            return self.refuse(refusal)
        self._went_by(message)
        return self._send(message)

    async def _first(self, message: Message) -> None:
        if self._body_left < 0:
            await self.finish()
            return
        start, self._start = self._start, None
        assert start is not None
        if refusal := self._gate.piece(self._visit, message.get("body", b"")):
            await self.refuse(refusal)
            return
        self._begun = True
        self._went_by(message)
        await self._send({**start, "headers": [*start.get("headers", ()), *self._own_headers()]})
        await self._send(message)

    def _went_by(self, message: Message) -> None:
        goes_on, visit = message.get("more_body", False), self._visit
        self._tail = answers.tail_of(message.get("body", b"")) if goes_on and visit.work and visit.stream else b""
        self._over = not goes_on

    async def refuse(self, refusal: Refusal) -> None:
        """Tells the client, by whatever can still be told."""
        if self._over:
            return
        self._over, self._tail = True, b""
        if not self._begun:
            headers = [(name.encode(), value.encode()) for name, value in refusal.headers().items()]
            headers += self._own_headers()
            await self._send({"type": "http.response.start", "status": refusal.status, "headers": headers})
            await self._send({"type": "http.response.body", "body": refusal.body()})
        elif self._visit.stream:
            await self._send({"type": "http.response.body", "body": refusal.event()})
        else:
            raise ConnectionAbortedError(refusal.message)  # the server closes: half an answer is no success

    def _own_headers(self) -> list[tuple[bytes, bytes]]:
        return [(name.encode(), value.encode()) for name, value in self._gate.told(self._visit)]

    async def finish(self) -> None:
        """The app has ended. What it was kept from saying is said."""
        if self._body_left < 0 and not self._begun:
            refusal = errors.too_large(self._gate.settings.max_body_bytes)
            self._gate.refuse(self._visit, refusal)
            await self.refuse(refusal)


class _Nothing:
    """Can be awaited any number of times, and does nothing."""

    def __await__(self) -> Generator[None, None, None]:
        return
        yield


NOTHING = _Nothing()


@cache
def _gate_of_this_process() -> Gate:
    return Gate.from_environment()


def _path(scope: Scope) -> str:
    """As the app's routes have it, without the prefix under which the app was mounted."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path[len(root) :] if root and path.startswith(root + "/") else path


def _headers(scope: Scope) -> dict[str, str]:
    """Of a header that is there more than once, the first."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}


def _content_type(message: Message) -> str:
    for name, value in message.get("headers", ()):
        if name.lower() == b"content-type":
            return str(value, "latin-1")
    return ""


def _tell_the_engine(scope: Scope, visit: Visit, *, traced: bool) -> None:
    """Its log lines carry the same request, its span lies in ours; where we send none, a trace goes by as it came."""
    ours = {b"x-request-id": visit.request_id.encode()}
    if traced:
        ours[b"traceparent"] = visit.trace.traceparent().encode()
    scope["headers"] = [*(pair for pair in scope["headers"] if pair[0] not in ours), *ours.items()]


def _cut_by_us(visit: Visit) -> bool:
    task = asyncio.current_task()
    return visit.cut and task is not None and task.uncancel() == 0
