"""What the guard counts as the engine's work: by this the supervisor detects a hang, whatever clients do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from slipway_runtime.guard.asgi import Guard
from slipway_runtime.guard.exchange import App, Message, Receive, Scope, Send
from slipway_runtime.supervisor.liveness import LivenessMonitor, Sample
from support.programs.guard import CHAT, GuardHarness, answering, ask, guarding, scope_of, streaming, tokens

RESPONSES = "/v1/responses"
USAGE = b'{"usage":{"input_tokens":3,"output_tokens":2}}'


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[GuardHarness]:
    harness = guarding(tmp_path)
    yield harness
    harness.close()


async def hangs(scope: Scope, receive: Receive, send: Send) -> None:
    """Takes requests and never responds; it notices that a client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


def event(kind: str) -> bytes:
    data = {"type": kind, "response": {"id": "resp_1", "status": "in_progress", "usage": None}}
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode()


async def opens_a_stream_and_hangs(scope: Scope, receive: Receive, send: Send) -> None:
    """As vLLM does for `/v1/responses`: its web server sends events before its engine does."""
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    for kind in ("response.created", "response.in_progress"):
        await send({"type": "http.response.body", "body": event(kind), "more_body": True})
    await hangs(scope, receive, send)


async def accepts_in_background(scope: Scope, receive: Receive, send: Send) -> None:
    body = b'{"id":"resp_1","status":"queued","usage":null}'
    await answering(body)(scope, receive, send)


async def disconnect(guard: Guard, path: str) -> None:
    messages: list[Message] = [{"type": "http.request", "body": b"{}"}, {"type": "http.disconnect"}]

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        pass

    await guard(scope_of(path), receive, send)


async def samples(harness: GuardHarness, guard: Guard, path: str) -> AsyncIterator[Sample]:
    """As the supervisor samples every 2 s; in between, one client of many gives up."""
    for at in range(0, 120, 2):
        await disconnect(guard, path)
        seen = harness.control.counts()
        yield Sample(at=float(at), answers=True, has_work=True, counts=(seen.done, seen.tokens), spent=0.0, waited=0.0)


@pytest.mark.parametrize(
    ("app", "path"),
    [
        pytest.param(hangs, CHAT, id="silent"),
        pytest.param(opens_a_stream_and_hangs, RESPONSES, id="opening streams"),
        pytest.param(accepts_in_background, RESPONSES, id="accepting background work"),
        pytest.param(answering(b'{"error":{}}', status=400), CHAT, id="rejecting requests of clients"),
        pytest.param(answering(b"", status=500), CHAT, id="failing"),
    ],
)
async def test_an_engine_that_hangs_is_stuck_after_24_seconds_though_its_clients_give_up(
    harness: GuardHarness, app: App, path: str
) -> None:
    guard, monitor = Guard(app, harness.gate), LivenessMonitor(stuck_after=24, computes_on_cpus=False)
    found = [sample.at async for sample in samples(harness, guard, path) if monitor.observe(sample)]
    assert found[:1] == [24]


@pytest.mark.parametrize(
    ("app", "path"),
    [
        pytest.param(answering(b'{"choices":[]}'), CHAT, id="an answer"),
        pytest.param(answering(b"\0", content_type="application/octet-stream"), "/v1/embeddings", id="bytes"),
        pytest.param(answering(USAGE), RESPONSES, id="a response"),
        pytest.param(streaming(*tokens("abc")), CHAT, id="a stream"),
    ],
)
async def test_a_response_of_the_engine_is_a_sign_of_life(harness: GuardHarness, app: App, path: str) -> None:
    await ask(Guard(app, harness.gate), path)
    counts = harness.control.counts()
    assert counts.done + counts.tokens > 0


async def test_the_guards_refusals_are_not_the_engines_work(tmp_path: Path) -> None:
    harness = guarding(tmp_path, models=("gemma",))
    guard = Guard(hangs, harness.gate)
    assert (await ask(guard, body=[b'{"model":"other"}'])).status == 404
    assert harness.control.counts().done == 0
    harness.close()


async def test_a_request_that_is_cut_off_was_not_completed(harness: GuardHarness) -> None:
    request_task = asyncio.create_task(ask(Guard(hangs, harness.gate)))
    await asyncio.sleep(0)
    assert harness.control.counts().in_flight == 1
    request_task.cancel()
    await asyncio.wait([request_task])
    assert (harness.control.counts().in_flight, harness.control.counts().done) == (0, 0)
