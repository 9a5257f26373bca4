"""A guard for tests: a gate, and an ASGI server that consists of lists of messages."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from slipway_runtime.control import Control, Slot
from slipway_runtime.guard.answers import Reading
from slipway_runtime.guard.asgi import Guard
from slipway_runtime.guard.exchange import App, Message, Receive, Scope, Send
from slipway_runtime.guard.gate import Gate
from slipway_runtime.guard.settings import GuardSettings

CHAT = "/v1/chat/completions"
KEY = "a-key-of-alice"
MakeGuard = Callable[..., "GuardHarness"]


@dataclass
class GuardHarness:
    """A gate and what it needs."""

    gate: Gate
    control: Control
    registry: CollectorRegistry

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, {"model_name": "gemma", **labels})

    def close(self) -> None:
        self.gate.close()
        self.control.close()


def guarding(
    folder: Path, clock: Callable[[], float] = time.monotonic, *, in_place_of_engine: bool = False, **settings: Any
) -> GuardHarness:
    control, registry = Control.create(folder / "control"), CollectorRegistry()
    slot = Slot.claim(folder / "control")
    made = GuardSettings(**{"model": "gemma", "access_log": False, **settings})
    gate = Gate(made, slot, registry, clock, in_place_of_engine=in_place_of_engine)
    return GuardHarness(gate, control, registry)


@contextmanager
def several(folder: Path) -> Iterator[MakeGuard]:
    """Makes gates with any settings, and closes them at the end."""
    all_made: list[GuardHarness] = []

    def make(**settings: Any) -> GuardHarness:
        all_made.append(guarding(folder, **settings))
        return all_made[-1]

    yield make
    for each in all_made:
        each.close()


def keys_in(folder: Path, **keys: str) -> str:
    """Writes the folder of a Secret with API keys."""
    secret = folder / "keys"
    secret.mkdir(exist_ok=True)
    for owner, key in keys.items():
        (secret / owner).write_text(key)
    return str(secret)


@dataclass
class Answer:
    messages: list[Message] = field(default_factory=list)

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"]) if self.messages else 0

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode().lower(): value.decode() for name, value in self.messages[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages[1:])

    @property
    def error(self) -> str:
        """The code of the error in the response."""
        code: str = json.loads(self.body.removeprefix(b"data: "))["error"]["code"]
        return code

    @property
    def whole(self) -> bool:
        """Whether it follows ASGI: a start, and pieces of which only the last says that it is the last."""
        kinds = [message["type"] for message in self.messages]
        more = [message.get("more_body", False) for message in self.messages[1:]]
        return (
            kinds[:1] == ["http.response.start"]
            and set(kinds[1:]) == {"http.response.body"}
            and more == [True] * (len(more) - 1) + [False]
        )


Headers = Iterable[tuple[str, str]]


async def ask(
    guard: Guard,
    path: str = CHAT,
    *,
    method: str = "POST",
    headers: Headers = (),
    body: Iterable[bytes] = (b"{}",),
    root_path: str = "",
    client: str = "10.0.0.7",
) -> Answer:
    """Sends one request; returns the response. After the body, the client stays connected."""
    answer = Answer()
    pieces = list(body)
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces[:-1]]
    messages.append({"type": "http.request", "body": pieces[-1] if pieces else b"", "more_body": False})

    async def receive() -> Message:
        if messages:
            return messages.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        answer.messages.append(message)

    scope = scope_of(path, method=method, headers=headers)
    await guard({**scope, "root_path": root_path, "client": (client, 50_000)}, receive, send)
    return answer


def scope_of(path: str, *, method: str = "POST", headers: Headers = ()) -> Scope:
    """A POST is JSON, unless the headers say otherwise."""
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    if method == "POST" and not any(name == b"content-type" for name, _ in raw):
        raw.append((b"content-type", b"application/json"))
    return {"type": "http", "method": method, "path": path, "headers": raw, "root_path": ""}


def answering(*pieces: bytes, status: int = 200, content_type: str = "application/json") -> App:
    """An app that gives this response to every request; more than one piece is a stream."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        headers = [(b"content-type", content_type.encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for piece in pieces[:-1]:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": pieces[-1], "more_body": False})

    return app


def streaming(*pieces: bytes) -> App:
    return answering(*pieces, b"", content_type="text/event-stream; charset=utf-8")


def waiting(started: asyncio.Event, *pieces: bytes) -> App:
    """An app that sends these pieces of a stream, and then nothing more."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if pieces:
            headers = [(b"content-type", b"text/event-stream")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        started.set()
        await asyncio.Event().wait()

    return app


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("the guard let the request through")


def chunk(**choice: Any) -> bytes:
    """An event of a stream, as vLLM writes it."""
    return b"data: " + json.dumps({"choices": [choice]}, separators=(",", ":")).encode() + b"\n\n"


def tokens(text: str) -> list[bytes]:
    """Events of a stream with one token each, and nothing else."""
    return [chunk(text=token, finish_reason=None) for token in text]


def read(reading: Reading, *pieces: bytes) -> bytes:
    """Returns what the guard forwards of a response that arrives in these pieces."""
    out = b""
    for number, piece in enumerate(pieces, 1):
        steps = reading.read(piece, last=number == len(pieces))
        try:
            while not reading.aborted:
                next(steps)
        except StopIteration as end:
            out += end.value
    return out
