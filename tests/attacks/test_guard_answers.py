"""Responses in which clients or models imitate an engine's own fields: no good response becomes an error, no aborted
response becomes a success, and no key is charged less or more than its requests used.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from slipway_runtime.guard.answers import Reading, Stream, is_token, tail_of
from slipway_runtime.guard.asgi import EngineGone, Guard
from slipway_runtime.guard.exchange import App, Receive, Scope, Send
from slipway_runtime.guard.gate import Gate
from support.builders.engine_answers import RESPONSES, WORDS, Shape, shape
from support.programs.guard import CHAT, answering, ask, chunk, guarding, read, streaming, waiting

SEEDS = 400


def cut(chance: random.Random, body: bytes) -> list[bytes]:
    if chance.random() < 0.3:  # as vLLM does
        return [event + b"\n\n" for event in body.removesuffix(b"\n\n").split(b"\n\n")] if b"\n" in body else [body]
    size = chance.choice((1, 7, 100, 5000, len(body)))
    return [body[at : at + size] for at in range(0, len(body), size)]


def shapes(pytestconfig: pytest.Config) -> Iterator[tuple[str, random.Random, Shape]]:
    seed = pytestconfig.getoption("--seed")
    for number in range(seed, seed + SEEDS):
        chance = random.Random(number)
        yield f"seed {number}", chance, shape(chance)


def test_verdicts_and_usage_match_the_engine_whatever_a_client_or_a_model_writes(pytestconfig: pytest.Config) -> None:
    for seed, chance, sample in shapes(pytestconfig):
        reading = Stream(sample.path) if sample.stream else Reading(sample.path)
        out = read(reading, *cut(chance, sample.body))
        context = f"{seed}: {sample}"
        assert reading.aborted is sample.aborted, context
        assert reading.response_id == sample.response_id or sample.aborted, context
        if not (sample.stream and sample.aborted):
            assert reading.usage == sample.usage, context
        if not sample.aborted:
            assert out == sample.body, context
            assert not reading.failed, context


async def test_clients_get_good_responses_unchanged_and_an_error_for_aborted_ones(
    pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    guarded = guarding(tmp_path)
    for seed, chance, sample in shapes(pytestconfig):
        pieces = cut(chance, sample.body)
        app = streaming(*pieces) if sample.stream else answering(sample.body)
        answer = await ask(Guard(app, guarded.gate), sample.path)
        assert answer.whole, seed
        if sample.aborted:
            assert answer.status == 503 or b'"code":"engine_aborted"' in answer.body.rpartition(b"\n\ndata: ")[2], seed
        else:
            assert (answer.status, answer.body) == (200, sample.body), f"{seed}: {sample}"
    guarded.close()


@pytest.mark.parametrize("word", WORDS)
def test_no_text_makes_a_final_event_look_like_a_token_or_the_reverse(word: str) -> None:
    def piece(finish: str | None, *more: dict[str, object]) -> bytes:
        choice = {
            "index": 0,
            "text": word,
            "logprobs": {"tokens": [word]},
            "finish_reason": finish,
            "stop_reason": None,
        }
        body = {"id": "x", "choices": [*more, choice], "usage": None}
        return b"data: " + json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"

    tail = tail_of(piece(None))
    assert tail
    assert is_token(piece(None), tail)
    for finish in ("abort", "stop"):
        assert not is_token(piece(finish), tail)
        assert not is_token(piece(None, {"index": 1, "text": word, "finish_reason": finish}), tail)
        assert not is_token(piece(finish) + piece(None), tail)


@pytest.mark.parametrize("between", [1, 3, 50])
async def test_the_abort_of_one_choice_of_several_is_detected_after_many_tokens(tmp_path: Path, between: int) -> None:
    tokens = [chunk(index=number % 2, text="a", finish_reason=None) for number in range(between)]
    guarded = guarding(tmp_path)
    abort = chunk(index=1, text="", finish_reason="abort")
    answer = await ask(Guard(streaming(*tokens, abort, *tokens), guarded.gate))
    assert answer.body.count(b'"text":"a"') == between
    assert answer.body.endswith(b"}}\n\n")
    assert b"engine_aborted" in answer.body
    guarded.close()


# --- token limits ----------------------------------------------------------------------------------------------------


def limited(folder: Path, clock: list[float]) -> Gate:
    guarded = guarding(folder, lambda: clock[0], tokens_per_minute_per_key=10_000)
    return guarded.gate


def left(gate: Gate) -> float:
    return gate._limits.tokens.left("anonymous", gate.clock())


async def test_an_echoed_tool_named_usage_is_not_counted_as_usage(tmp_path: Path) -> None:
    gate = limited(tmp_path, [1.0])
    tool = {"usage": {"prompt_tokens": 0, "completion_tokens": 0, "input_tokens": 0, "output_tokens": 0}}
    body = {
        "usage": {"input_tokens": 4000, "output_tokens": 5000},
        "tools": [tool],
        "metadata": tool,
        "status": "completed",
    }
    for written in (body, dict(reversed(body.items()))):
        before = left(gate)
        await ask(Guard(answering(json.dumps(written).encode()), gate), RESPONSES)
        assert before - left(gate) == pytest.approx(9000)
    gate.close()


async def test_a_stream_without_usage_read_slowly_is_charged_for_all_of_its_text(tmp_path: Path) -> None:
    """vLLM then puts the text of many tokens into one event."""
    gate = limited(tmp_path, [1.0])
    merged = [chunk(text="word " * 500, finish_reason=None) for _ in range(4)]
    await ask(Guard(streaming(*merged, b"data: [DONE]\n\n"), gate))
    assert 10_000 - left(gate) > 2000
    gate.close()


@pytest.mark.parametrize("tokens", [1, 2, 4, 8, 15, 50])
async def test_a_stream_without_usage_is_charged_for_all_tokens_however_many_an_event_has(
    tmp_path: Path, tokens: int
) -> None:
    """As with speculative decoding, with `stream_interval`, and for clients that read slowly."""
    gate = limited(tmp_path, [1.0])
    events = [chunk(index=0, delta={"content": "abc " * tokens}, finish_reason=None)] * 50
    first = chunk(index=0, delta={"content": "abc "}, finish_reason=None)
    await ask(Guard(streaming(first, *events, b"data: [DONE]\n\n"), gate))
    assert 10_000 - left(gate) == pytest.approx(50 * tokens, abs=2)
    gate.close()


@pytest.mark.parametrize("words", [1, 3, 10, 1000, 3000])
async def test_a_large_first_event_does_not_hide_the_text_after_it(tmp_path: Path, words: int) -> None:
    """With `return_token_ids`, vLLM puts the prompt's token ids into the first event."""
    gate = limited(tmp_path, [1.0])
    choice = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
    first = json.dumps({"choices": [choice], "prompt_token_ids": [12345] * words * 4}, separators=(",", ":"))
    merged = [chunk(index=0, delta={"content": "word " * words}, finish_reason=None)] * 10
    await ask(Guard(streaming(b"data: " + first.encode() + b"\n\n", *merged, b"data: [DONE]\n\n"), gate))
    assert words * 10 <= 10_000 - left(gate) <= words * 13
    gate.close()


@pytest.mark.parametrize("prefix", [b'"usage" : {', b'"usage":\t{'])
async def test_usage_is_found_after_many_tokens_however_it_is_written(tmp_path: Path, prefix: bytes) -> None:
    gate = limited(tmp_path, [1.0])
    tokens = [chunk(index=0, text="a", finish_reason=None)] * 9
    end = b'data: {"choices":[],' + prefix + b'"prompt_tokens":4000,"completion_tokens":9}}\n\n'
    await ask(Guard(streaming(*tokens, end, b"data: [DONE]\n\n"), gate))
    assert 10_000 - left(gate) == pytest.approx(4009)
    gate.close()


async def test_an_aborted_response_is_detected_after_many_tokens_however_it_is_written(tmp_path: Path) -> None:
    guarded = guarding(tmp_path)
    tokens = [b'data: {"type":"response.output_text.delta","item_id":"msg","delta":"word"}\n\n'] * 9
    end = b'data: {"response" : {"status":"cancelled"},"type":"response.completed"}\n\n'
    answer = await ask(Guard(streaming(*tokens, end), guarded.gate), RESPONSES)
    assert b"engine_aborted" in answer.body
    guarded.close()


@pytest.mark.parametrize("depth", [100, 300, 100_000])
async def test_a_deeply_nested_tool_input_does_not_hide_usage(tmp_path: Path, depth: int) -> None:
    gate = limited(tmp_path, [1.0])
    deep = "[" * depth + '"x"' + "]" * depth
    body = (
        f'{{"type":"message","content":[{{"type":"tool_use","input":{{"a":{deep}}}}}],"stop_reason":"tool_use",'
        '"usage":{"input_tokens":4000,"output_tokens":5000}}'
    )
    await ask(Guard(answering(body.encode()), gate), "/v1/messages")
    assert 10_000 - left(gate) == pytest.approx(9000)
    gate.close()


PICTURE = "data:image/png;base64," + "A" * 1_000_000
MEDIA = [
    {"type": "image_url", "image_url": {"url": PICTURE}},
    {"type": "input_image", "image_url": PICTURE},
    {"type": "input_audio", "input_audio": {"data": "A" * 1_000_000, "format": "wav"}},
    {"type": "image", "source": {"type": "base64", "data": "A" * 1_000_000}},
    {"type": "tool_result", "content": [{"type": "image", "source": {"data": "A" * 1_000_000}}]},
]


@pytest.mark.parametrize("part", MEDIA, ids=lambda part: str(part["type"]))
@pytest.mark.parametrize("name", ["messages", "input"])
async def test_an_image_or_an_audio_clip_has_a_fixed_charge_that_does_not_depend_on_its_bytes(
    tmp_path: Path, part: dict[str, object], name: str
) -> None:
    gate = limited(tmp_path, [1.0])
    body = json.dumps({name: [{"role": "user", "content": [part, {"type": "text", "text": "word " * 400}]}]}).encode()
    pieces = [body[at : at + 65_536] for at in range(0, len(body), 65_536)]
    await ask(Guard(streaming(*[chunk(text="a")] * 20, b"data: [DONE]\n\n"), gate), body=pieces)
    assert 10_000 - left(gate) == pytest.approx(1500, abs=100)
    gate.close()


async def test_text_that_only_looks_like_an_image_is_charged_as_text(tmp_path: Path) -> None:
    gate = limited(tmp_path, [1.0])
    body = json.dumps({"messages": [{"content": PICTURE[:30_000]}], "x": [{"image_url": {"url": PICTURE[:2000]}}]})
    await ask(Guard(streaming(b"data: [DONE]\n\n"), gate), body=[body.encode()])
    assert 10_000 - left(gate) == pytest.approx(8000, abs=100)
    gate.close()


FORM = [("content-type", "multipart/form-data; boundary=x")]
TRANSCRIPTION = b'{"text":"word word ","usage":{"type":"duration","seconds":60}}'


@pytest.mark.parametrize(
    ("app", "used"), [(answering(TRANSCRIPTION), 1502), (answering(b"1\n00:00", content_type="text"), 2000)]
)
async def test_a_transcription_is_charged_by_its_seconds(tmp_path: Path, app: App, used: int) -> None:
    gate = limited(tmp_path, [1.0])
    await ask(Guard(app, gate), "/v1/audio/transcriptions", body=[b"A" * 2_000_000], headers=FORM)
    assert 10_000 - left(gate) == pytest.approx(used, abs=5)
    gate.close()


async def test_embeddings_as_bytes_are_charged_by_the_usage_in_their_header(tmp_path: Path) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        metadata = b'{"data":[{"index":0}],"usage":{"prompt_tokens":7000,"total_tokens":7000}}'
        headers = [(b"content-type", b"application/octet-stream"), (b"metadata", metadata)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"\0" * 4000})

    gate = limited(tmp_path, [1.0])
    await ask(Guard(app, gate), "/v1/embeddings")
    assert 10_000 - left(gate) == pytest.approx(7000)
    gate.close()


async def test_token_ids_are_charged_one_by_one(tmp_path: Path) -> None:
    gate = limited(tmp_path, [1.0])
    body = json.dumps({"input": [1] * 8000, "encoding_format": "bytes_only"}, separators=(",", ":")).encode()
    app = answering(b"\0" * 4000, content_type="application/octet-stream")
    await ask(Guard(app, gate), "/v1/embeddings", body=[body])
    assert 10_000 - left(gate) == pytest.approx(8000, abs=5)
    gate.close()


async def test_each_of_several_prompts_is_charged_though_llamacpp_reports_only_one(tmp_path: Path) -> None:
    gate = limited(tmp_path, [1.0])
    body = json.dumps({"prompt": ["a", *["word " * 400] * 3]}).encode()
    choices = [{"index": number, "text": "word " * (400 if number else 1)} for number in range(4)]
    usage = {"prompt_tokens": 2, "completion_tokens": 1}
    timings = {"prompt_n": 2, "predicted_n": 1, "predicted_ms": 5.0}
    answer = json.dumps({"choices": choices, "usage": usage, "timings": timings}).encode()
    await ask(Guard(answering(answer), gate), "/v1/completions", body=[body])
    assert 10_000 - left(gate) == pytest.approx(3 * 500 + 3 * 500, abs=20)
    gate.close()


async def test_a_client_that_disconnects_after_one_choice_reported_usage_is_charged_for_the_others(
    tmp_path: Path,
) -> None:
    started = asyncio.Event()
    gate = limited(tmp_path, [1.0])
    tokens = [chunk(index=1, text="a", finish_reason=None) for _ in range(100)]
    end = b'data: {"choices":[{"index":0}],"timings":{"prompt_n":5,"predicted_n":1,"predicted_ms":5.0}}\n\n'
    request = asyncio.create_task(ask(Guard(waiting(started, *tokens, end), gate)))
    await started.wait()
    request.cancel()
    await asyncio.wait([request])
    assert 10_000 - left(gate) == pytest.approx(5 + 99)
    gate.close()


async def test_a_client_that_disconnects_before_the_response_is_charged_for_its_time_and_its_prompt(
    tmp_path: Path,
) -> None:
    clock, started = [1.0], asyncio.Event()
    gate = limited(tmp_path, clock)
    request = asyncio.create_task(ask(Guard(waiting(started), gate), body=[b"x" * 4000]))
    await started.wait()
    clock[0] += 2
    request.cancel()
    await asyncio.wait([request])
    assert 10_000 - left(gate) == pytest.approx(1000 + 2 * 30)
    gate.close()


async def test_a_client_that_disconnects_in_a_stream_is_charged_for_the_tokens_sent_and_its_prompt(
    tmp_path: Path,
) -> None:
    started = asyncio.Event()
    gate = limited(tmp_path, [1.0])
    tokens = [chunk(text="a", finish_reason=None)] * 100
    request = asyncio.create_task(ask(Guard(waiting(started, *tokens), gate), body=[b"x" * 4000]))
    await started.wait()
    request.cancel()
    await asyncio.wait([request])
    assert 10_000 - left(gate) == pytest.approx(1000 + 98)
    gate.close()


async def test_a_flood_of_single_token_requests_is_charged_for_its_prompts(tmp_path: Path) -> None:
    gate = limited(tmp_path, [1.0])
    body = b'{"choices":[{"text":"a","finish_reason":"length"}],"usage":{"prompt_tokens":3000,"completion_tokens":1}}'
    statuses = [(await ask(Guard(answering(body), gate))).status for _ in range(6)]
    assert statuses == [200, 200, 200, 200, 429, 429]
    gate.close()


@pytest.mark.parametrize("path", ["/tokenize", "/detokenize", "/v1/messages/count_tokens", "/v1/responses/x/cancel"])
async def test_a_request_that_the_front_end_computes_counts_towards_the_rate(tmp_path: Path, path: str) -> None:
    guarded = guarding(tmp_path, requests_per_minute_per_key=1, burst_per_key=2, max_in_flight=3)
    assert [(await ask(Guard(answering(b"{}"), guarded.gate), path)).status for _ in range(3)] == [200, 200, 429]
    assert guarded.control.counts().in_flight == 0
    guarded.close()


async def test_a_request_that_the_front_end_computes_is_in_flight_meanwhile(tmp_path: Path) -> None:
    guarded, started = guarding(tmp_path, max_in_flight=1), asyncio.Event()
    first = asyncio.create_task(ask(Guard(waiting(started), guarded.gate), "/tokenize"))
    await started.wait()
    assert (await ask(Guard(answering(b"{}"), guarded.gate), CHAT)).status == 503
    first.cancel()
    await asyncio.wait([first])
    assert (await ask(Guard(answering(b"{}"), guarded.gate), CHAT)).status == 200
    guarded.close()


# --- data before the verdict -----------------------------------------------------------------------------------------


ABORTED = b'{"choices":[{"finish_reason":"abort"}]}'


@pytest.mark.parametrize(
    "app",
    [
        streaming(b"", b"data: " + ABORTED + b"\n\n"),
        answering(b"", ABORTED),
        answering(ABORTED[:9], b"", ABORTED[9:]),
        answering(*(ABORTED[at : at + 1] for at in range(len(ABORTED)))),
    ],
    ids=["a stream", "an empty piece", "two pieces", "bytes"],
)
async def test_an_aborted_response_is_never_a_success_whatever_its_first_piece(tmp_path: Path, app: App) -> None:
    guarded = guarding(tmp_path)
    answer = await ask(Guard(app, guarded.gate))
    assert (answer.status, answer.error) == (503, "engine_aborted")
    guarded.close()


async def test_a_response_in_many_pieces_is_buffered_as_far_as_memory_allows(tmp_path: Path) -> None:
    guarded = guarding(tmp_path)
    pieces = [b'{"x":"', *[b"x" * 65_536] * 40, b'"}']
    answer = await ask(Guard(answering(*pieces), guarded.gate))
    assert answer.body == b"".join(pieces)
    assert max(len(message.get("body", b"")) for message in answer.messages) < 2 << 20
    guarded.close()


# --- errors of engines -----------------------------------------------------------------------------------------------

ERRORS = [
    (400, b'{"error":{"code":400,"message":"no","type":"x"}}', 400, "invalid_request"),
    (
        400,
        b'{"error":{"message":"This model\'s maximum context length is 9","code":400}}',
        400,
        "context_length_exceeded",
    ),
    (
        400,
        b'{"error":{"message":"request (9 tokens) exceeds the available context size"}}',
        400,
        "context_length_exceeded",
    ),
    (404, b'{"error":{"message":"The model `x` does not exist.","code":404}}', 404, "model_not_found"),
    (404, b'{"error":{"message":"The model `a\\nb` does not exist."}}', 404, "model_not_found"),
    (404, b'{"error":{"message":"The model `maximum context length` does not exist."}}', 404, "model_not_found"),
    (404, b'{"error":{"message":"The model `available context size` does not exist."}}', 404, "model_not_found"),
    (500, b'{"error":{"message":"KeyError: \'maximum context length\'"}}', 500, "engine_error"),
    (500, b'{"error":{"message":"no tool \'json.exception.parse_error\'"}}', 500, "engine_error"),
    (400, b'{"error":{"message":"Unknown role \'max_model_len\'"}}', 400, "invalid_request"),
    (400, b'{"error":{"message":"no field \\"does not support \'previous_response_id\'\\""}}', 400, "invalid_request"),
    (
        400,
        b'{"error":{"message":"The decoder prompt (length 9) is longer than the maximum model length of 8."}}',
        400,
        "context_length_exceeded",
    ),
    (
        400,
        b'{"error":{"message":"max_tokens=9 cannot be greater than max_model_len=8."}}',
        400,
        "context_length_exceeded",
    ),
    (
        400,
        b'{"error":{"message":"Input length (9) exceeds model\'s maximum context length (8)."}}',
        400,
        "context_length_exceeded",
    ),
    (
        400,
        b'{"error":{"message":"max_tokens_per_doc (9) must be less than max_model_len (8)."}}',
        400,
        "context_length_exceeded",
    ),
    (400, b'{"error":{"message":"llama.cpp does not support \'previous_response_id\'."}}', 404, "not_found"),
    (500, b'{"error":{"message":"[json.exception.parse_error.101] parse error at line 1"}}', 400, "invalid_request"),
    (404, b'{"detail":"Not Found"}', 404, "not_found"),
    (501, b'{"error":{"code":501,"message":"This server does not support embeddings."}}', 404, "not_found"),
    (422, b'{"detail":[{"loc":["body"],"msg":"wrong"}]}', 400, "invalid_request"),
    (500, b'{"error":{"code":500,"message":"Failed to parse messages: x"}}', 400, "invalid_request"),
    (500, b"Internal Server Error", 500, "engine_error"),
    (500, b"", 500, "engine_error"),
    (500, b"{" * 10_000, 500, "engine_error"),
    (503, b'{"object":"error","message":"busy","code":503}', 503, "engine_unavailable"),
    (400, b'{"type":"error","error":{"type":"BadRequestError","message":"no"}}', 400, "invalid_request"),
    (400, b'{"error":"no"}', 400, "invalid_request"),
    (400, b'{"error":{"message":{"a":"\\ud800"},"param":5}}', 400, "invalid_request"),
    (418, b"[]", 418, "invalid_request"),
    (500, b'{"error":{"message":"' + b"x" * 100_000 + b'"}}', 500, "engine_error"),
]


@pytest.mark.parametrize(("status", "body", "expected", "code"), ERRORS)
async def test_every_engine_error_is_sent_in_one_form(
    tmp_path: Path, status: int, body: bytes, expected: int, code: str
) -> None:
    guarded = guarding(tmp_path)
    pieces = [body[: len(body) // 2], body[len(body) // 2 :]]
    answer = await ask(Guard(answering(*pieces, status=status), guarded.gate))
    error = json.loads(answer.body)["error"]
    assert (answer.status, error["code"], sorted(error)) == (expected, code, ["code", "message", "param", "type"])
    assert isinstance(error["message"], str)
    assert error["message"]
    assert int(answer.headers["content-length"]) == len(answer.body)
    guarded.close()


@pytest.mark.parametrize(("path", "expected"), [("/detokenize", (400, "tokens")), (CHAT, (500, None))])
async def test_an_unknown_token_is_a_client_error_and_no_other_error_of_that_form_is(
    tmp_path: Path, path: str, expected: tuple[int, str | None]
) -> None:
    guarded = guarding(tmp_path)
    body = b'{"error":{"code":500,"message":"vector::_M_range_check: __n (which is 1000000000) >= this->size()"}}'
    answer = await ask(Guard(answering(body, status=500), guarded.gate), path)
    assert (answer.status, json.loads(answer.body)["error"]["param"]) == expected
    guarded.close()


async def test_an_engine_that_ends_within_an_event_leaves_no_partial_event(tmp_path: Path) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": chunk(text="a") + b'data: {"cho', "more_body": True})
        raise EngineGone

    guarded = guarding(tmp_path)
    answer = await ask(Guard(app, guarded.gate))
    assert answer.body.startswith(chunk(text="a") + b'data: {"error":')
    guarded.close()
