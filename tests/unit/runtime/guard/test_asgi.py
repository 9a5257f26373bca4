"""The guard around an ASGI app: what it passes on, what it answers on its own, and what a client then sees."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slipway_runtime.control import GuardMode
from slipway_runtime.guard.asgi import Guard
from slipway_runtime.guard.exchange import App, Message, Receive, Scope, Send
from support.programs.guard import (
    CHAT,
    KEY,
    Answer,
    GuardHarness,
    MakeGuard,
    answering,
    ask,
    chunk,
    keys_in,
    nothing,
    scope_of,
    several,
    streaming,
    tokens,
    waiting,
)

AUTHORIZED = [("Authorization", f"Bearer {KEY}")]


@pytest.fixture
def make_guard(tmp_path: Path) -> Iterator[MakeGuard]:
    """Makes a guard's gate with these settings."""
    with several(tmp_path) as make_guard:
        yield make_guard


def guard_of(guarding: GuardHarness, app: App) -> Guard:
    return Guard(app, guarding.gate)


# --- passed on -------------------------------------------------------------------------------------------------------


async def test_a_response_passes_unchanged(make_guard: MakeGuard) -> None:
    answer = await ask(guard_of(make_guard(), answering(b'{"choices":[]}')))
    assert (answer.status, answer.body, answer.whole) == (200, b'{"choices":[]}', True)


async def test_a_stream_passes_piece_by_piece(make_guard: MakeGuard) -> None:
    answer = await ask(guard_of(make_guard(), streaming(chunk(text="a"), chunk(text="b"), b"data: [DONE]\n\n")))
    assert [message["body"] for message in answer.messages[1:]] == [
        chunk(text="a"),
        chunk(text="b"),
        b"data: [DONE]\n\n",
        b"",
    ]
    assert answer.whole


async def test_anything_but_http_requests_goes_to_the_app(make_guard: MakeGuard) -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    await guard_of(make_guard(), app)({"type": "lifespan"}, _no_receive, _no_send)
    assert seen == ["lifespan"]


# --- one model -------------------------------------------------------------------------------------------------------


MODELS = [{"id": name, "object": "model", "created": 7, "owned_by": "vllm"} for name in ("gemma", "sql")]
LISTED = json.dumps({"object": "list", "data": MODELS}).encode()


async def listing(scope: Scope, receive: Receive, send: Send) -> None:
    """Serves the list of models alone, as vLLM does."""
    is_list_request = (scope["method"], scope["path"]) == ("GET", "/base/v1/models")
    await answering(LISTED if is_list_request else b"{}", status=200 if is_list_request else 404)(scope, receive, send)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: str(model["id"]))
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_single_model_is_described_as_it_is_in_the_list(
    make_guard: MakeGuard, model: dict[str, Any], method: str
) -> None:
    """Adapters, too: vLLM lists them, but doesn't serve a description of one."""
    guard = guard_of(make_guard(), listing)
    answer = await ask(guard, f"/base/v1/models/{model['id']}", method=method, body=(), root_path="/base")
    assert (answer.status, answer.whole, json.loads(answer.body)) == (200, True, model)


async def test_a_model_that_is_not_served_is_not_found(make_guard: MakeGuard) -> None:
    answer = await ask(
        guard_of(make_guard(), listing), "/base/v1/models/gpt-4", method="GET", body=(), root_path="/base"
    )
    assert (answer.status, answer.error) == (404, "model_not_found")


async def test_no_model_is_described_without_a_key(make_guard: MakeGuard, tmp_path: Path) -> None:
    guard = guard_of(make_guard(keys=keys_in(tmp_path, alice=KEY)), nothing)
    for name in ("gemma", "gpt-4"):
        answer = await ask(guard, f"/v1/models/{name}", method="GET", body=())
        assert answer.error == "missing_api_key"


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'{"data":1}', b'{"data":[{}]}', b'{"data":["x"]}', b"data: {}\n\n"]
)
async def test_an_engine_that_does_not_list_its_models_has_failed(make_guard: MakeGuard, body: bytes) -> None:
    answer = await ask(guard_of(make_guard(), answering(body)), "/v1/models/gemma", method="GET", body=())
    assert (answer.status, answer.error) == (502, "engine_failed")


# --- request ids and traces ------------------------------------------------------------------------------------------


async def test_the_engine_and_the_client_get_the_same_request_id(make_guard: MakeGuard) -> None:
    request_ids: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request_ids.extend(value for name, value in scope["headers"] if name == b"x-request-id")
        await answering(b"{}")(scope, receive, send)

    answer = await ask(guard_of(make_guard(), app), headers=[("X-Request-Id", "mine")])
    assert (request_ids, answer.headers["x-request-id"]) == ([b"mine"], "mine")


async def test_a_trace_continues_under_a_span_of_the_guard(make_guard: MakeGuard) -> None:
    traceparent = f"00-{'a' * 32}-{'b' * 16}-01"
    answer = await ask(guard_of(make_guard(), answering(b"{}")), headers=[("traceparent", traceparent)])
    version, trace, span, flags = answer.headers["traceparent"].split("-")
    assert (version, trace, flags) == ("00", "a" * 32, "01")
    assert span != "b" * 16


# --- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/metrics", "/invocations", "/load", "/docs", "/v1/chat/completions/", "/V1/models"])
async def test_a_path_that_is_not_listed_never_reaches_the_engine(make_guard: MakeGuard, path: str) -> None:
    for method in ("GET", "POST"):
        answer = await ask(guard_of(make_guard(), nothing), path, method=method)
        assert (answer.status, answer.error) == (404, "unknown_url")


async def test_a_mount_prefix_exposes_no_other_path(make_guard: MakeGuard) -> None:
    assert (await ask(guard_of(make_guard(), answering(b"{}")), "/base" + CHAT, root_path="/base")).status == 200
    assert (await ask(guard_of(make_guard(), nothing), "/base/metrics", root_path="/base")).status == 404


@pytest.mark.parametrize("path", [CHAT, "/tokenize", "/v1/embeddings"])
async def test_without_a_key_nothing_reaches_the_engine(make_guard: MakeGuard, tmp_path: Path, path: str) -> None:
    guard = guard_of(make_guard(keys=keys_in(tmp_path, alice=KEY)), nothing)
    for headers, code in (
        ([], "missing_api_key"),
        ([("Authorization", "Bearer key-of-mallory")], "invalid_api_key"),
        ([("Authorization", f"Basic {KEY}")], "missing_api_key"),
    ):
        answer = await ask(guard, path, headers=headers)
        assert (answer.status, answer.error, answer.headers["www-authenticate"]) == (401, code, "Bearer")


@pytest.mark.parametrize("header", ["Authorization: Bearer", "X-Api-Key:", "Api-Key:"])
async def test_a_key_is_accepted_in_each_header_that_clients_use(
    make_guard: MakeGuard, tmp_path: Path, header: str
) -> None:
    guard = guard_of(make_guard(keys=keys_in(tmp_path, alice=KEY)), answering(b"{}"))
    name, _, before = header.partition(":")
    assert (await ask(guard, headers=[(name, f"{before} {KEY}".strip())])).status == 200


async def test_the_supervisor_needs_no_key(make_guard: MakeGuard, tmp_path: Path) -> None:
    guarding = make_guard(keys=keys_in(tmp_path, alice=KEY))
    headers = [("X-Slipway-Supervisor", guarding.control.secret)]
    assert (await ask(guard_of(guarding, answering(b"{}")), "/metrics", method="GET", headers=headers)).status == 200


async def test_a_body_whose_declared_length_is_too_large_is_not_read(make_guard: MakeGuard) -> None:
    answer = await ask(guard_of(make_guard(max_body_bytes=10), nothing), headers=[("Content-Length", "11")])
    assert (answer.status, answer.error, answer.headers["connection"]) == (413, "request_too_large", "close")


async def test_a_body_that_grows_too_large_is_cut_off_and_never_reaches_the_engine(make_guard: MakeGuard) -> None:
    answer = await ask(guard_of(make_guard(max_body_bytes=10), nothing), body=[b"12345678", b"12345678", b"1"])
    assert (answer.status, answer.error) == (413, "request_too_large")


async def test_a_websocket_to_an_unknown_path_is_closed(make_guard: MakeGuard) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    await guard_of(make_guard(), nothing)({**scope_of("/v1/realtime"), "type": "websocket"}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008, "reason": "unknown_url"}]


# --- limits ----------------------------------------------------------------------------------------------------------


async def test_requests_beyond_the_limit_in_flight_get_retry_after(make_guard: MakeGuard) -> None:
    started = asyncio.Event()
    guard = guard_of(make_guard(max_in_flight=1), waiting(started))
    first = asyncio.create_task(ask(guard))
    await started.wait()
    second = await ask(guard)
    assert (second.status, second.error, second.headers["retry-after"]) == (503, "overloaded", "1")
    await _disconnect(first)
    started.clear()
    third = asyncio.create_task(ask(guard))
    await started.wait()  # the place is free again
    await _disconnect(third)


async def test_a_key_has_its_own_limit(make_guard: MakeGuard, tmp_path: Path) -> None:
    started = asyncio.Event()
    guarding = make_guard(keys=keys_in(tmp_path, alice=KEY, bob="a-key-of-bob"), max_in_flight_per_key=1)
    first = asyncio.create_task(ask(guard_of(guarding, waiting(started)), headers=AUTHORIZED))
    await started.wait()
    refused = await ask(guard_of(guarding, nothing), headers=AUTHORIZED)
    assert (refused.status, refused.error) == (429, "too_many_in_flight")
    others = await ask(guard_of(guarding, answering(b"{}")), headers=[("X-Api-Key", "a-key-of-bob")])
    assert others.status == 200
    await _disconnect(first)


async def test_a_client_that_sends_too_often_gets_retry_after(make_guard: MakeGuard) -> None:
    guard = guard_of(make_guard(requests_per_minute_per_key=6, burst_per_key=2), answering(b"{}"))
    answers = [await ask(guard) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[-1].headers["retry-after"] == "10"


# --- drains ----------------------------------------------------------------------------------------------------------


async def test_in_a_drain_new_requests_are_refused(make_guard: MakeGuard) -> None:
    guarding = make_guard()
    guarding.control.mode = GuardMode.DRAINING
    for path in (CHAT, "/health"):
        answer = await ask(guard_of(guarding, nothing), path, method="POST" if path == CHAT else "GET")
        assert (answer.status, answer.error, answer.headers["retry-after"]) == (503, "draining", "5")


async def test_in_a_drain_requests_in_flight_continue(make_guard: MakeGuard) -> None:
    guarding, started, released = make_guard(), asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        started.set()
        await released.wait()
        await answering(b"{}")(scope, receive, send)

    request_task = asyncio.create_task(ask(guard_of(guarding, app)))
    await started.wait()
    guarding.control.mode = GuardMode.DRAINING
    released.set()
    assert (await request_task).status == 200
    assert guarding.control.counts().in_flight == 0


@pytest.mark.parametrize("text", ["", "a", "abc"], ids=["before its first token", "after it", "in its stream"])
async def test_a_request_that_is_cut_off_ends_with_an_error(make_guard: MakeGuard, text: str) -> None:
    guarding, started = make_guard(), asyncio.Event()
    request_task = asyncio.create_task(ask(guard_of(guarding, waiting(started, *tokens(text)))))
    await started.wait()
    async with asyncio.timeout(10):
        while guarding.control.counts().tokens != len(text):  # noqa: ASYNC110 - set later, while it runs
            await asyncio.sleep(0.01)
    guarding.control.mode = GuardMode.ENDING
    answer = await request_task
    assert answer.whole
    assert answer.status == (200 if text else 503)
    assert _last_event(answer)["error"]["code"] == "cut_off"
    assert guarding.metric("slipway_refusals_total", key="anonymous", reason="cut_off") == 1


# --- an engine that gives up -----------------------------------------------------------------------------------------


async def test_an_abort_in_one_piece_is_not_a_success(make_guard: MakeGuard) -> None:
    answer = await ask(guard_of(make_guard(), answering(b'{"choices":[{"text":"","finish_reason":"abort"}]}')))
    assert (answer.status, answer.error, answer.whole) == (503, "engine_aborted", True)


async def test_an_abort_as_the_first_event_of_a_stream_is_not_a_success(make_guard: MakeGuard) -> None:
    answer = await ask(guard_of(make_guard(), streaming(chunk(text="", finish_reason="abort"), b"data: [DONE]\n\n")))
    assert (answer.status, answer.error) == (503, "engine_aborted")


async def test_an_abort_within_a_stream_ends_it_with_an_error(make_guard: MakeGuard) -> None:
    pieces = [chunk(text="a"), chunk(text="", finish_reason="abort"), b"data: [DONE]\n\n"]
    answer = await ask(guard_of(make_guard(), streaming(*pieces)))
    assert (answer.status, _last_event(answer)["error"]["code"], answer.whole) == (200, "engine_aborted", True)
    assert b"[DONE]" not in answer.body


async def test_an_abort_is_detected_after_any_number_of_tokens(make_guard: MakeGuard) -> None:
    abort = chunk(text="", finish_reason="abort")
    answer = await ask(guard_of(make_guard(), streaming(*tokens("abc"), abort, b"data: [DONE]\n\n")))
    assert (_last_event(answer)["error"]["code"], answer.whole) == ("engine_aborted", True)
    assert answer.body.startswith(b"".join(tokens("abc")))
    assert b"[DONE]" not in answer.body


async def test_nothing_is_sent_after_an_abort(make_guard: MakeGuard) -> None:
    abort = chunk(text="", finish_reason="abort")
    answer = await ask(guard_of(make_guard(), streaming(*tokens("ab"), abort, *tokens("cd"))))
    assert (_last_event(answer)["error"]["code"], answer.whole) == ("engine_aborted", True)
    assert not any(token in answer.body for token in tokens("cd"))


async def test_generated_text_about_aborts_passes(make_guard: MakeGuard) -> None:
    text = chunk(text='{"finish_reason":"abort"}')
    answer = await ask(guard_of(make_guard(), streaming(text, b"data: [DONE]\n\n")))
    assert answer.body == text + b"data: [DONE]\n\n"


async def test_an_engine_that_fails_leaves_nothing_in_flight(make_guard: MakeGuard) -> None:
    guarding = make_guard()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("the engine is dead")

    await ask(guard_of(guarding, app))
    assert guarding.control.counts().in_flight == 0
    assert guarding.metric("slipway_requests_total", key="anonymous", path=CHAT, status="500") == 1


def breaking_after(*pieces: bytes, content_type: str = "text/event-stream") -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if pieces:
            headers = [(b"content-type", content_type.encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        raise KeyError("a bug that a client has found")

    return app


@pytest.mark.parametrize("text", ["", "abc"], ids=["before its first token", "in its stream"])
async def test_an_exception_of_the_app_becomes_the_common_error_and_is_logged_once(
    make_guard: MakeGuard, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    answer = await ask(guard_of(make_guard(), breaking_after(*tokens(text))), headers=[("x-request-id", "mine")])
    error = _last_event(answer)["error"]
    assert (answer.whole, answer.headers["x-request-id"]) == (True, "mine")
    assert (error["code"], error["type"]) == ("engine_error", "server_error")
    assert "a bug" not in error["message"]
    [record] = caplog.records
    logged = json.loads(record.getMessage())
    assert logged["request_id"] == "mine"
    assert "KeyError: 'a bug that a client has found'" in logged["traceback"]


async def test_a_complete_response_that_breaks_off_is_left_to_the_server_which_closes_the_connection(
    make_guard: MakeGuard, caplog: pytest.LogCaptureFixture
) -> None:
    app = breaking_after(b"half", content_type="text/plain")
    with pytest.raises(KeyError):
        await ask(guard_of(make_guard(), app))
    assert caplog.records == []  # the server logs it


# --- metrics ---------------------------------------------------------------------------------------------------------


async def test_tokens_are_counted_by_key_and_times_for_all_keys_together(make_guard: MakeGuard, tmp_path: Path) -> None:
    guarding = make_guard(keys=keys_in(tmp_path, alice=KEY))
    usage = {"usage": {"prompt_tokens": 5, "completion_tokens": 2}}
    last = b"data: " + json.dumps({"choices": [], **usage}).encode() + b"\n\n"
    await ask(guard_of(guarding, streaming(chunk(text="a"), chunk(text="b"), last)), headers=AUTHORIZED)
    assert guarding.metric("slipway_requests_total", key="alice", path=CHAT, status="200") == 1
    assert guarding.metric("slipway_tokens_total", key="alice", kind="prompt") == 5
    assert guarding.metric("slipway_tokens_total", key="alice", kind="completion") == 2
    for name in ("time_to_first_token", "time_per_output_token", "request"):
        assert guarding.metric(f"slipway_{name}_seconds_count") == 1
    assert guarding.control.counts().done == 1


@pytest.mark.parametrize("is_reported", [True, False], ids=["as the engine reports", "as they passed"])
async def test_the_tokens_of_a_stream_are_counted(make_guard: MakeGuard, is_reported: bool) -> None:
    guarding = make_guard()
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":7}}\n\n'
    end = [chunk(text="e", finish_reason="stop"), *([usage] if is_reported else []), b"data: [DONE]\n\n"]
    await ask(guard_of(guarding, streaming(*tokens("abcd"), *end)))
    counted = guarding.metric("slipway_tokens_total", key="anonymous", kind="completion")
    assert counted == (7 if is_reported else len("abcde") - 1)  # one event of a stream opens it
    assert guarding.metric("slipway_time_per_output_token_seconds_count") == 1


async def test_a_client_that_leaves_is_no_longer_in_flight(make_guard: MakeGuard) -> None:
    guarding, started = make_guard(), asyncio.Event()
    request_task = asyncio.create_task(ask(guard_of(guarding, waiting(started))))
    await started.wait()
    assert guarding.metric("slipway_requests_in_flight") == 1
    await _disconnect(request_task)
    assert guarding.metric("slipway_requests_in_flight") == 0
    assert guarding.control.counts().in_flight == 0


ENDING, DONE = chunk(text="b") + chunk(finish_reason="stop"), b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    ("pieces", "counted"),
    [([ENDING + DONE], 1), ([ENDING, DONE], 1), ([ENDING, b"data: [DO", b"NE]\n\n"], 1), ([ENDING], 0)],
    ids=["at the end", "at an end in a piece of its own", "at an end in two pieces", "before it"],
)
async def test_a_client_that_hangs_up_at_the_last_event_was_served_and_one_that_does_so_earlier_was_not(
    make_guard: MakeGuard, pieces: list[bytes], counted: int
) -> None:
    guarding, started = make_guard(), asyncio.Event()
    request_task = asyncio.create_task(ask(guard_of(guarding, waiting(started, chunk(text="a"), *pieces))))
    await started.wait()
    await _disconnect(request_task)
    assert guarding.metric("slipway_request_seconds_count") == counted


async def test_neither_prompts_nor_responses_are_logged(
    make_guard: MakeGuard, capsys: pytest.CaptureFixture[str]
) -> None:
    guard = guard_of(make_guard(access_log=True), answering(b'{"choices":[{"text":"a secret answer"}]}'))
    await ask(guard, body=[b'{"prompt":"a secret prompt"}'])
    [line] = capsys.readouterr().out.splitlines()
    assert "secret" not in line
    logged = json.loads(line)
    assert (logged["event"], logged["path"], logged["status"], logged["key"]) == ("request", CHAT, 200, "anonymous")


def _last_event(answer: Answer) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(answer.body.strip().rpartition(b"\n\n")[2].removeprefix(b"data: "))
    return event


async def _disconnect(request_task: asyncio.Task[Answer]) -> None:
    """The client leaves, and the server cancels the handler."""
    request_task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request_task


async def _no_receive() -> Message:
    raise AssertionError


async def _no_send(message: Message) -> None:
    raise AssertionError
