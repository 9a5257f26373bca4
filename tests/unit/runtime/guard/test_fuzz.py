"""Random requests to the guard: none gets past it, no response is partial, and nothing is left behind."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from slipway_runtime.control import GuardMode
from slipway_runtime.guard.asgi import Guard
from slipway_runtime.guard.exchange import App, Receive, Scope, Send
from slipway_runtime.guard.routes import SERVED, RouteKind, Routes
from support.programs.guard import CHAT, KEY, Answer, GuardHarness, ask, chunk, guarding, keys_in

METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "BREW", "get", "")
PIECES = (
    chunk(text="a"),
    chunk(text="", finish_reason="abort"),
    chunk(text='"finish_reason":"abort"'),
    b'data: {"usage":{"prompt_tokens":99999999999,"completion_tokens":1}}\n\n',
    b"data: [DONE]\n\n",
    b'{"error":\n\n',
    b"",
    b"\x00\xff\xfe\n\n",
)

OTHER_FORMS = ("/v1/messages", "/v1/responses")
"""The engines that report an abort in another form: tests/attacks/test_guard_answers.py has them."""


class Chance:
    """Random requests that can be repeated."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.valid_key = False

    def method(self) -> str:
        return self.random.choice(METHODS)

    def path(self) -> str:
        path_of_route = self.random.choice(SERVED).path.replace("*", self.random.choice(("x", "", "..", "%2e")))
        if self.random.random() < 0.5:
            return path_of_route
        return self._mutated(path_of_route) if self.random.random() < 0.8 else self.words(200)

    def words(self, longest: int) -> str:
        return "".join(chr(self.random.randrange(1, 256)) for _ in range(self.random.randrange(longest)))

    def headers(self) -> list[tuple[str, str]]:
        names = ("authorization", "x-api-key", "content-length", "traceparent", "x-request-id", "x-slipway-supervisor")
        chosen = [(self.random.choice((*names, "x")), self._value()) for _ in range(self.random.randrange(5))]
        self.valid_key = self.random.random() < 0.5
        if self.valid_key:
            chosen = [(name, value) for name, value in chosen if name not in ("authorization", "x-api-key")]
            chosen.append(("Authorization", f"Bearer {KEY}"))
        return chosen

    def body(self) -> list[bytes]:
        return [self.random.randbytes(self.random.randrange(40)) for _ in range(self.random.randrange(6))]

    def app(self, reached: Callable[[Scope], None]) -> App:
        """An engine that does everything that an engine may do, and some things that it must not."""
        behaviour = self.random.choice(("answer", "stream", "stream", "raise", "silent", "hang"))
        reads, status = self.random.random() < 0.7, self.random.choice((200, 200, 200, 400, 500))
        pieces = [self.random.choice(PIECES) for _ in range(self.random.randrange(5))]

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            reached(scope)
            while reads and (await receive()).get("more_body"):
                pass
            if behaviour == "raise":
                raise RuntimeError("the engine is dead")
            if behaviour == "hang":
                await asyncio.Event().wait()
            if behaviour != "silent":
                await _answer(send, status, pieces, stream=behaviour == "stream")

        return app

    def _mutated(self, path: str) -> str:
        at = self.random.randrange(len(path) + 1)
        return path[:at] + self.random.choice(("/", "//", ".", "..", "%2f", "\x00", "é", "?", "A")) + path[at:]

    def _value(self) -> str:
        return self.random.choice(
            (f"Bearer {KEY[:-1]}", f"Basic {KEY}", "Bearer", "0", "-1", "999999999999999999999", "1e9", self.words(80))
        )


async def _answer(send: Send, status: int, pieces: list[bytes], *, stream: bool) -> None:
    kind = b"text/event-stream" if stream else b"application/json"
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
    for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[GuardHarness]:
    guards = guarding(tmp_path, keys=keys_in(tmp_path, alice=KEY), max_body_bytes=100, max_in_flight=3)
    yield guards
    guards.close()


async def test_the_guard_holds_against_random_requests(guarded: GuardHarness, pytestconfig: pytest.Config) -> None:
    await send_random_requests(guarded, pytestconfig, seconds=pytestconfig.getoption("--fuzz-seconds"))


@pytest.mark.slow
@pytest.mark.timeout(1200)
async def test_the_guard_holds_against_random_requests_for_long(
    guarded: GuardHarness, pytestconfig: pytest.Config
) -> None:
    await send_random_requests(guarded, pytestconfig, seconds=30 * pytestconfig.getoption("--fuzz-seconds"))


async def send_random_requests(guarded: GuardHarness, pytestconfig: pytest.Config, *, seconds: float) -> None:
    until, seed = time.monotonic() + seconds, pytestconfig.getoption("--seed")
    while time.monotonic() < until:
        await send_random_batch(guarded, seed)
        seed += 1


async def send_random_batch(guarded: GuardHarness, seed: int) -> None:
    chance = Chance(seed)
    method, path, headers = chance.method(), chance.path(), chance.headers()
    guarded.control.mode = chance.random.choice(
        (GuardMode.SERVING, GuardMode.SERVING, GuardMode.SERVING, GuardMode.DRAINING)
    )
    reached: list[Scope] = []
    guard = Guard(chance.app(reached.append), guarded.gate)
    answer = await one_answer(guard, chance, path, method=method, headers=headers)
    message = f"seed {seed}: {method} {path!r} {headers} -> {answer and answer.messages}"
    route = Routes().find(method, path)
    if reached:
        is_preflight = method == "OPTIONS" and Routes().exists(path)
        assert route or is_preflight, message
        assert chance.valid_key or is_preflight or (route and route.kind is RouteKind.OPEN), message
        assert guarded.control.mode is GuardMode.SERVING, message
    elif answer:
        assert answer.status in (400, 401, 404, 413, 415, 429, 503), message
    if answer and answer.messages:
        assert answer.whole, message
        assert "x-request-id" in answer.headers, message
        assert answer.headers["x-request-id"].isascii(), message
        if (
            route
            and route.kind is RouteKind.WORK
            and route.path not in OTHER_FORMS
            and answer.status == 200
            and "event-stream" in answer.headers["content-type"]
        ):
            assert b'"finish_reason":"abort"}' not in answer.body, message
    assert guarded.control.counts().in_flight == 0, message
    assert guarded.control.counts().waiting == 0, message
    assert guarded.gate._limits.in_flight == 0, message


async def one_answer(
    guard: Guard, chance: Chance, path: str, *, method: str, headers: list[tuple[str, str]]
) -> Answer | None:
    """None if the connection was closed, or the client has left."""
    request_task = asyncio.create_task(ask(guard, path, method=method, headers=headers, body=chance.body()))
    for _ in range(8):  # iterations of the event loop: enough for any response that doesn't hang
        await asyncio.sleep(0)
        if request_task.done():
            break
    request_task.cancel()
    try:
        return await request_task
    except (asyncio.CancelledError, RuntimeError, ConnectionAbortedError):
        return None


async def test_a_request_that_arrives_while_others_wait_is_counted_correctly(guarded: GuardHarness) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.001)
        await _answer(send, 200, [b"{}"], stream=False)

    headers = [("Authorization", f"Bearer {KEY}")]
    guard = Guard(app, guarded.gate)
    answers = await asyncio.gather(*(ask(guard, CHAT, headers=headers) for _ in range(50)))
    assert sorted({answer.status for answer in answers}) == [200, 503]
    assert [answer.status for answer in answers].count(200) == 3
    assert guarded.control.counts().in_flight == 0
