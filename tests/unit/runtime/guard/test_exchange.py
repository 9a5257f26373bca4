"""How an error reaches a client, depending on how far its response has come: each row is a state of the response."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from slipway_runtime.guard.asgi import EngineGone, Guard
from slipway_runtime.guard.exchange import App, Message, Receive, ResponseState, Scope, Send
from support.programs.guard import Answer, MakeGuard, ask, chunk, scope_of, several

STREAM, JSON, TEXT = "text/event-stream", "application/json", "text/plain"


def start(status: int, content_type: str) -> Message:
    headers = [(b"content-type", content_type.encode())]
    return {"type": "http.response.start", "status": status, "headers": headers}


def piece(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


NOTHING_SENT: Sequence[Message] = ()
HEAD_HELD = (start(200, JSON),)
PIECES_HELD = (start(200, JSON), piece(b'{"choices":'))
ERROR_HELD = (start(400, JSON), piece(b'{"error":'))
STREAM_STARTED = (start(200, STREAM), piece(chunk(text="a")))
STREAM_COMPLETE = (start(200, STREAM), piece(chunk(text="a")), piece(b"data: [DONE]\n\n", more=False))
TEXT_STARTED = (start(200, TEXT), piece(b"half"))
TEXT_COMPLETE = (start(200, TEXT), piece(b"all", more=False))


class EngineFailedError(Exception):
    """The exception that the app raises."""


@pytest.fixture
def make_guard(tmp_path: Path) -> Iterator[MakeGuard]:
    with several(tmp_path) as make_guard:
        yield make_guard


def failing_after(messages: Sequence[Message], error: Exception) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        for message in messages:
            await send(message)
        raise error

    return app


@pytest.mark.parametrize("error", [EngineFailedError(), EngineGone()], ids=["the app raises", "the engine is gone"])
@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(NOTHING_SENT, id="nothing was sent"),
        pytest.param(HEAD_HELD, id="the head is held"),
        pytest.param(PIECES_HELD, id="the head and pieces are held"),
        pytest.param(ERROR_HELD, id="an error of the engine is held"),
    ],
)
async def test_an_error_before_the_response_starts_becomes_an_error_response(
    make_guard: MakeGuard, sent: Sequence[Message], error: Exception
) -> None:
    answer = await ask(Guard(failing_after(sent, error), make_guard().gate))
    codes = {EngineFailedError: (500, "engine_error"), EngineGone: (502, "engine_failed")}
    assert (answer.status, answer.error) == codes[type(error)]
    assert answer.whole


async def test_a_stream_that_has_started_ends_with_an_error_event(make_guard: MakeGuard) -> None:
    answer = await ask(Guard(failing_after(STREAM_STARTED, EngineFailedError()), make_guard().gate))
    assert answer.status == 200
    assert answer.messages[1]["body"] == chunk(text="a")
    assert b'"code":"engine_error"' in answer.messages[-1]["body"]
    assert answer.whole


@pytest.mark.parametrize("sent", [NOTHING_SENT, STREAM_STARTED], ids=["nothing was sent", "a stream has started"])
async def test_an_error_links_to_its_runbook(make_guard: MakeGuard, sent: Sequence[Message]) -> None:
    guard = make_guard(runbooks="https://docs.example/{name}.html")
    answer = await ask(Guard(failing_after(sent, EngineGone()), guard.gate))
    assert b"; try again. See https://docs.example/engine_failed.html" in answer.messages[-1]["body"]
    assert answer.whole


async def test_a_complete_stream_gets_no_error_after_its_end(make_guard: MakeGuard) -> None:
    answer = await ask(Guard(failing_after(STREAM_COMPLETE, EngineFailedError()), make_guard().gate))
    assert answer.body == chunk(text="a") + b"data: [DONE]\n\n"
    assert answer.whole


@pytest.mark.parametrize(
    ("sent", "error", "raised"),
    [
        pytest.param(TEXT_STARTED, EngineFailedError(), EngineFailedError, id="half of it was sent, the app raises"),
        pytest.param(TEXT_STARTED, EngineGone(), ConnectionAbortedError, id="half of it was sent, the engine is gone"),
        pytest.param(TEXT_COMPLETE, EngineFailedError(), EngineFailedError, id="all of it was sent, the app raises"),
    ],
)
async def test_a_response_that_is_not_a_stream_ends_with_its_connection(
    make_guard: MakeGuard, sent: Sequence[Message], error: Exception, raised: type[Exception]
) -> None:
    """The server closes the connection at an exception, so that half a response never looks complete."""
    answer = Answer()

    async def receive() -> Message:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: Message) -> None:
        answer.messages.append(message)

    scope = {**scope_of("/v1/chat/completions"), "client": ("10.0.0.7", 50_000)}
    with pytest.raises(raised):
        await Guard(failing_after(sent, error), make_guard().gate)(scope, receive, send)
    assert answer.body == sent[1]["body"]


def test_from_forwarded_on_nothing_more_is_sent() -> None:
    final_states = {ResponseState.FORWARDED, ResponseState.BROKEN_OFF, ResponseState.REPLACED}
    assert {state for state in ResponseState if state >= ResponseState.FORWARDED} == final_states
