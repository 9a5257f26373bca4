"""One request's messages in both directions, as the guard lets them by.

A request's body is taken whole before the app sees any of it: then it can still be refused for what is in it. An
answer's first words are held until its first piece is there, for until then it can still become an error. After that a
piece costs one plain call: `send` is no coroutine of its own.

By the time of its next token, the engine's server has driven all of a stream out of the processor's caches, so what a
token costs is what is touched for it, more than what is computed: several times of what a loop would show.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Mapping, MutableMapping
from typing import Any

from slipway_runtime.guard import answers, engine_errors, errors
from slipway_runtime.guard.answers import BYTES_OF_A_TOKEN, Stream
from slipway_runtime.guard.bodies import Body, slices
from slipway_runtime.guard.errors import Refusal
from slipway_runtime.guard.gate import Gate
from slipway_runtime.guard.routes import Kind, Takes
from slipway_runtime.guard.visit import Visit

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

AT_ONCE = 4096  # bytes of an answer that are read in one go; of more, others get their turn in between


class Exchange:
    __slots__ = (
        "_bare",
        "_begun",
        "_body",
        "_error",
        "_gate",
        "_has_tail",
        "_over",
        "_receive",
        "_send",
        "_start",
        "_tail",
        "_visit",
    )

    def __init__(self, gate: Gate, visit: Visit, receive: Receive, send: Send) -> None:
        self._gate = gate
        self._visit = visit
        self._receive = receive
        self._send = send
        self._body: deque[Message] = deque()
        """The request's, as far as the app hasn't taken it."""
        self._start: Message | None = None
        """The answer's first words, while they are held."""
        self._begun = False
        self._over = False
        self._tail = b""
        """How the stream's last piece ended, if it was a token like most; else empty."""
        self._has_tail = True
        """As far as is known: its text comes before what all of its tokens end with."""
        self._bare = 0
        """Bytes of a piece that is one, beside its text."""
        self._error: bytearray | None = None
        """What the engine says instead of an answer, as far as it has come."""

    # --- the request ---

    async def take_body(self, content_type: str) -> bool:
        """False if the app isn't to be asked: the client has left, or was refused."""
        if self._visit.takes is Takes.JSON and not self._visit.supervisor and not _is_json(content_type):
            return await self._refused(errors.NO_JSON)
        self._visit.is_awaited = True
        refusal = await self._whole_body()
        self._visit.is_awaited = False
        if refusal is None and not self._visit.reason and (body := self._gate.body_of(self._visit)):
            refusal = await self._read(body)
            self._visit.asked(body)
        return await self._refused(refusal) if refusal else not self._visit.reason

    async def _read(self, body: Body) -> Refusal | None:
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
        """False if there is no place for it, now that its body is there."""
        refusal = self._gate.admit(self._visit)
        return await self._refused(refusal) if refusal else True

    async def _whole_body(self) -> Refusal | None:
        """One that comes too slowly is cut by the gate."""
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._visit.client_left()
                return None
            if refusal := self._gate.came(self._visit, len(message.get("body", b""))):
                return refusal
            self._body.append(message)
            if not message.get("more_body"):
                return None

    async def _refused(self, refusal: Refusal) -> bool:
        self._gate.refuse(self._visit, refusal)
        await self.refuse(refusal)
        return False

    async def receive(self) -> Message:
        if self._body:
            return self._body.popleft()
        message = await self._receive()
        if message["type"] == "http.disconnect" and not self._over:
            self._visit.client_left()
        return message

    # --- the answer ---

    def send(self, message: Message) -> Awaitable[None]:
        if self._tail and message.get("more_body"):
            piece = message.get("body", b"")
            text = len(piece) - self._bare
            if 0 <= text <= BYTES_OF_A_TOKEN and answers.is_token(piece, self._tail):
                visit = self._visit
                visit.events += 1
                visit.text += text
                self._gate.untold += 1
                return self._send(message)
        return self._look_at(message)

    def _look_at(self, message: Message) -> Awaitable[None]:
        if self._over:
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
        if start["status"] >= 400 and self._visit.kind is not Kind.OPEN and not self._visit.supervisor:
            self._error = bytearray()

    def _piece(self, message: Message) -> Awaitable[None]:
        if self._error is not None:
            return self._engines_error(message, self._error)
        piece, last = message.get("body", b""), not message.get("more_body", False)
        if (reading := self._visit.reading) is None:
            return self._pass_on(message, piece, piece)
        if not last and type(reading) is Stream and (text := reading.text_of_plain(piece)) >= 0:
            self._visit.events += 1
            self._visit.text += text
            self._gate.untold += 1
            if not self._begun:
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
        if out or not goes_on:
            self._gate.piece(visit)
        elif piece or self._start:
            return NOTHING  # an event that isn't whole, or nothing yet that could be judged
        self._over = not goes_on
        if out is not piece:
            message = {**message, "body": out}
        return self._first(message) if self._start else self._send(message)

    async def _first(self, message: Message) -> None:
        start, self._start = self._start, None
        assert start is not None
        self._begun = True
        await self._send({**start, "headers": [*start.get("headers", ()), *self._own_headers()]})
        await self._send(message)

    async def _engines_error(self, message: Message, told: bytearray) -> None:
        """What an engine says of an error is said in one form; what is too long for that isn't read."""
        told += message.get("body", b"")[: engine_errors.LARGEST + 1 - len(told)]
        if message.get("more_body", False):
            return
        assert self._start is not None
        visit, start = self._visit, self._start
        refusal = engine_errors.of_answer(start["status"], bytes(told), method=visit.method, path=visit.path)
        visit.status = refusal.status
        self._gate.piece(visit)
        await self.refuse(refusal)

    async def tell_of_model(self, name: str, models: Mapping[str, Any]) -> None:
        """Of one, as the engine describes it among all that it serves."""
        if name not in models:
            await self._refused(errors.no_such_model(name, tuple(models)))
            return
        self._over, self._visit.status = True, 200
        said = json.dumps(models[name]).encode()
        await self._answer(200, {"content-type": "application/json", "content-length": str(len(said))}, said)

    async def refuse(self, refusal: Refusal, *, before: bytes = b"") -> None:
        """Tells the client, by whatever can still be told; `before` goes before that in a stream that has begun."""
        if self._over:
            return
        self._over, self._tail = True, b""
        if not self._begun:
            await self._answer(refusal.status, refusal.headers(), refusal.body())
        elif self._visit.stream:
            await self._send({"type": "http.response.body", "body": before + refusal.event()})
        else:
            raise ConnectionAbortedError(refusal.message)  # the server closes: half an answer is no success

    async def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """All of it, of our own."""
        named = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": [*named, *self._own_headers()]})
        await self._send({"type": "http.response.body", "body": body})

    @property
    def is_half_told(self) -> bool:
        """A whole answer has begun, which can't become an error any more."""
        return self._begun and not self._visit.stream

    def _own_headers(self) -> list[tuple[bytes, bytes]]:
        return [(name.encode(), value.encode()) for name, value in self._gate.told(self._visit)]


class _Nothing:
    """Can be awaited any number of times, and does nothing."""

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
