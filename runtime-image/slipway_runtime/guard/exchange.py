"""One request's messages in both directions, on their way through the guard.

The guard takes a request's body completely before the app sees any of it: then it can still refuse the request for its
content. It holds the response's head until the first piece is there: until then the response can still become an error.
After that a piece costs one plain call: `send` is not a coroutine itself.

By the time of its next token, the engine's server has driven everything of a stream out of the CPU's caches. So the
cost of a token is the memory that is touched for it, more than the computation: several times what a loop would show.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Mapping, MutableMapping
from enum import IntEnum
from typing import Any

from slipway_runtime.guard import answers, engine_errors, errors
from slipway_runtime.guard.answers import BYTES_OF_A_TOKEN, Stream
from slipway_runtime.guard.bodies import Body, slices
from slipway_runtime.guard.errors import ErrorResponse
from slipway_runtime.guard.gaps import Gaps
from slipway_runtime.guard.gate import Gate
from slipway_runtime.guard.routes import BodyKind, RouteKind
from slipway_runtime.guard.visit import Visit

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

AT_ONCE = 4096  # bytes of a response that are read in one go; after each, other requests get their turn


class ResponseState(IntEnum):
    """How far a response has come on its way to the client. From FORWARDED on, nothing more is sent."""

    NONE = 0
    """The app has not started it."""
    HEAD_HELD = 1
    """Its head is held, and the client has nothing yet."""
    ERROR_HELD = 2
    """It is an engine's error, held until it is complete, to be sent in the guard's form."""
    FORWARDING = 3
    """Its head and some of its body were sent."""
    FORWARDED = 4
    """All of it was sent."""
    BROKEN_OFF = 5
    """It is no stream, so an error in the middle of it could only be shown by closing the connection."""
    REPLACED = 6
    """The guard has sent a response of its own, or ended the stream with an error event."""


NONE, HEAD_HELD, ERROR_HELD, FORWARDING, FORWARDED, BROKEN_OFF, REPLACED = ResponseState


class Exchange:
    """One request and its response, as long as the app runs for it."""

    __slots__ = (
        "_bare",
        "_body",
        "_error",
        "_gaps",
        "_gate",
        "_has_tail",
        "_receive",
        "_send",
        "_start",
        "_state",
        "_tail",
        "_token_at",
        "_visit",
    )

    def __init__(self, gate: Gate, visit: Visit, receive: Receive, send: Send) -> None:
        self._gate = gate
        self._gaps = gate.gaps
        self._token_at = 0.0
        """When the last piece with text passed; 0 if none has, or if that isn't measured here."""
        self._visit = visit
        self._receive = receive
        self._send = send
        self._body: deque[Message] = deque()
        """The messages of the request's body that the app hasn't taken yet."""
        self._state: ResponseState = NONE
        self._start: Message = {}
        """The response's head, while it is held."""
        self._error = bytearray()
        """The engine's error, as far as it has arrived."""
        self._tail = b""
        """How the stream's last piece ended, if it was a token like most; else empty."""
        self._has_tail = True
        """False once a token was seen whose text does not come before a tail that all tokens share."""
        self._bare = 0
        """Bytes of a piece with that tail besides its text."""

    # --- the request ---

    async def take_body(self, content_type: str) -> bool:
        """Returns False if the app must not be called: the client has left, or was refused."""
        if self._visit.takes is BodyKind.JSON and not self._visit.supervisor and not _is_json(content_type):
            return await self._refused(errors.NO_JSON)
        self._visit.is_awaited = True
        refusal = await self._whole_body()
        self._visit.is_awaited = False
        if refusal is None and not self._visit.reason and (body := self._gate.body_of(self._visit)):
            refusal = await self._read(body)
            self._visit.asked(body)
        return await self._refused(refusal) if refusal else not self._visit.reason

    async def _read(self, body: Body) -> ErrorResponse | None:
        for number, part in enumerate(slices(message.get("body", b"") for message in self._body)):
            if number:
                if refusal := self._gate.reads(self._visit, body):
                    return refusal
                await asyncio.sleep(0)
            body.feed(part)
            if body.refusal:
                return body.refusal
        body.end()
        return body.refusal or self._gate.reads(self._visit, body)

    async def admitted(self) -> bool:
        """Returns False if there is no place for the request, now that its body is there."""
        refusal = self._gate.admit(self._visit)
        return await self._refused(refusal) if refusal else True

    async def _whole_body(self) -> ErrorResponse | None:
        """Receives the body. The gate cuts one that arrives too slowly."""
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._visit.client_left()
                return None
            if refusal := self._gate.receives(self._visit, len(message.get("body", b""))):
                return refusal
            self._body.append(message)
            if not message.get("more_body"):
                return None

    async def _refused(self, refusal: ErrorResponse) -> bool:
        self._gate.refuse(self._visit, refusal)
        await self.refuse(refusal)
        return False

    async def receive(self) -> Message:
        if self._body:
            return self._body.popleft()
        message = await self._receive()
        if message["type"] == "http.disconnect" and self._state < FORWARDED:
            self._visit.client_left()
        return message

    # --- the response ---

    def send(self, message: Message) -> Awaitable[None]:
        if self._tail and message.get("more_body"):
            piece = message.get("body", b"")
            text = len(piece) - self._bare
            if 0 <= text <= BYTES_OF_A_TOKEN and answers.is_token(piece, self._tail):
                visit = self._visit
                visit.events += 1
                visit.text += text
                self._gate.unreported += 1
                if self._gaps is not None:
                    self._count_gap(self._gaps)
                return self._send(message)
        return self._look_at(message)

    def _look_at(self, message: Message) -> Awaitable[None]:
        if self._state >= FORWARDED:
            return NOTHING
        match message["type"]:
            case "http.response.body":
                return self._piece(message)
            case "http.response.start":
                self._begin(message)
                return NOTHING
        return self._send(message)

    def _begin(self, start: Message) -> None:
        self._visit.answer(start["status"], _header(start, b"content-type"), _header(start, b"metadata"))
        self._start = start
        is_error = start["status"] >= 400 and self._visit.kind is not RouteKind.OPEN and not self._visit.supervisor
        self._state = ERROR_HELD if is_error else HEAD_HELD

    def _piece(self, message: Message) -> Awaitable[None]:
        state = self._state
        if state is ERROR_HELD:
            return self._engines_error(message)
        piece, last = message.get("body", b""), not message.get("more_body", False)
        if (reading := self._visit.reading) is None:
            return self._pass_on(message, piece, piece)
        if not last and type(reading) is Stream and (text := reading.text_of_plain(piece)) >= 0:
            self._visit.events += 1
            self._visit.text += text
            self._gate.unreported += 1
            if text and self._gaps is not None:
                self._count_gap(self._gaps)
            if state is HEAD_HELD:
                self._state = FORWARDING
                self._gate.piece(self._visit)
                return self._first(message)
            self._learn_tail(piece, reading)
            return self._send(message)
        self._tail = b""
        steps = reading.read(piece, last=last)
        if len(piece) > AT_ONCE:
            return self._slowly(message, steps)
        return self._pass_on(message, piece, _done(steps))

    def _learn_tail(self, piece: bytes, reading: Stream) -> None:
        if self._has_tail:
            self._tail, self._bare = answers.tail_of(piece), reading.bare
            self._has_tail = bool(self._tail)

    async def _slowly(self, message: Message, steps: Generator[None, None, bytes]) -> None:
        while True:
            try:
                next(steps)
            except StopIteration as end:
                await self._pass_on(message, message["body"], end.value)
                return
            await asyncio.sleep(0)

    def _pass_on(self, message: Message, piece: bytes, out: bytes) -> Awaitable[None]:
        visit, reading, goes_on = self._visit, self._visit.reading, message.get("more_body", False)
        if reading and reading.aborted:
            return self.refuse(self._gate.aborted(visit), before=out)
        is_held = self._state is HEAD_HELD
        if reading and reading.text and self._gaps is not None:
            self._count_gap(self._gaps)
        if out or not goes_on:
            self._gate.piece(visit)
        elif piece or is_held:
            return NOTHING  # an incomplete event, or nothing yet that could be judged
        self._state = FORWARDING if goes_on else FORWARDED
        if out is not piece:
            message = {**message, "body": out}
        return self._first(message) if is_held else self._send(message)

    def _count_gap(self, gaps: Gaps) -> None:
        """Counts the time since the last piece with text."""
        now, before = self._gate.clock(), self._token_at
        self._token_at = now
        if before:
            gaps.count(now - before)
            self._visit.longest_gap = max(self._visit.longest_gap, now - before)

    async def _first(self, message: Message) -> None:
        start, self._start = self._start, {}
        await self._send({**start, "headers": [*start.get("headers", ()), *self._own_headers()]})
        await self._send(message)

    async def _engines_error(self, message: Message) -> None:
        """Collects an engine's error, and sends it in the guard's form; one that is too long for that isn't read."""
        self._error += message.get("body", b"")[: engine_errors.LARGEST + 1 - len(self._error)]
        if message.get("more_body", False):
            return
        visit, status = self._visit, self._start["status"]
        refusal = engine_errors.of_answer(status, bytes(self._error), method=visit.method, path=visit.path)
        visit.status = refusal.status
        self._gate.piece(visit)
        await self.refuse(refusal)

    async def send_model(self, name: str, models: Mapping[str, Any]) -> None:
        """Sends one model, as the engine describes it in its list."""
        if name not in models:
            await self._refused(errors.no_such_model(name, tuple(models)))
            return
        self._state, self._visit.status = REPLACED, 200
        said = json.dumps(models[name]).encode()
        await self._answer(200, {"content-type": "application/json", "content-length": str(len(said))}, said)

    async def refuse(self, refusal: ErrorResponse, *, before: bytes = b"") -> None:
        """Sends the error in whatever way the response still allows; `before` precedes the error in a stream."""
        self._tail = b""
        refusal = refusal.linked(self._gate.runbooks)
        match self._state:
            case ResponseState.NONE | ResponseState.HEAD_HELD | ResponseState.ERROR_HELD:
                self._state = REPLACED
                await self._answer(refusal.status, refusal.headers(), refusal.body())
            case ResponseState.FORWARDING if self._visit.stream:
                self._state = REPLACED
                await self._send({"type": "http.response.body", "body": before + refusal.event()})
            case ResponseState.FORWARDING:
                self._state = BROKEN_OFF
                # the server closes the connection: half a response must not look complete
                raise ConnectionAbortedError(refusal.message)

    async def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Sends a complete response of the guard's own."""
        named = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": [*named, *self._own_headers()]})
        await self._send({"type": "http.response.body", "body": body})

    @property
    def is_half_sent(self) -> bool:
        """Whether a response that is no stream has started: it can't become an error any more."""
        return FORWARDING <= self._state <= BROKEN_OFF and not self._visit.stream

    def _own_headers(self) -> list[tuple[bytes, bytes]]:
        return [(name.encode(), value.encode()) for name, value in self._gate.own_headers(self._visit)]


class _Nothing:
    """An awaitable that does nothing, and can be awaited any number of times."""

    def __await__(self) -> Generator[None, None, None]:
        return
        yield


NOTHING = _Nothing()


def _done(steps: Generator[None, None, bytes]) -> bytes:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            out: bytes = end.value
            return out


def _is_json(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "application/json"


def _header(message: Message, wanted: bytes) -> str:
    for name, value in message.get("headers", ()):
        if name.lower() == wanted:
            return str(value, "latin-1")
    return ""
