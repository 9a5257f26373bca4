"""Answers in which clients and models write what engines would: no good one becomes an error, no aborted one a success,
and no key pays less, or more, than its requests have used.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from slipway_runtime.guard.answers import Reading, Stream, is_token, tail_of
from slipway_runtime.guard.asgi import EngineGone, Guard, Receive, Scope, Send
from slipway_runtime.guard.gate import Gate
from support.answer_shapes import RESPONSES, WORDS, Shape, shape
from support.guarding import CHAT, answering, ask, chunk, guarding, streaming, waiting

SEEDS = 400


def read(reading: Reading, pieces: list[bytes]) -> bytes:
    out = b""
    for number, piece in enumerate(pieces, 1):
        steps = reading.read(piece, last=number == len(pieces))
        try:
            while not reading.aborted:
                next(steps)
        except StopIteration as end:
            out += end.value
    return out


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


def test_verdicts_and_counts_are_the_engines_whatever_a_client_or_a_model_writes(pytestconfig: pytest.Config) -> None:
    for seed, chance, made in shapes(pytestconfig):
        reading = Stream(made.path) if made.stream else Reading(made.path)
        out = read(reading, cut(chance, made.body))
        told = f"{seed}: {made}"
        assert reading.aborted is made.aborted, told
        assert reading.response_id == made.response_id or made.aborted, told
        if not (made.stream and made.aborted):
            assert reading.usage == made.usage, told
        if not made.aborted:
            assert out == made.body, told
            assert not reading.failed, told


async def test_what_clients_see_is_what_was_meant(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    guarded = guarding(tmp_path)
    for seed, chance, made in shapes(pytestconfig):
        pieces = cut(chance, made.body)
        app = streaming(*pieces) if made.stream else answering(made.body)
        answer = await ask(Guard(app, guarded.gate), made.path)
        assert answer.whole, seed
        if made.aborted:
            assert answer.status == 503 or b'"code":"engine_aborted"' in answer.body.rpartition(b"\n\ndata: ")[2], seed
        else:
            assert (answer.status, answer.body) == (200, made.body), f"{seed}: {made}"
    guarded.close()


@pytest.mark.parametrize("word", WORDS)
def test_no_text_makes_a_token_of_an_end_or_an_end_of_a_token(word: str) -> None:
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
async def test_one_choice_of_several_that_is_aborted_after_many_tokens_is_seen(tmp_path: Path, between: int) -> None:
    tokens = [chunk(index=number % 2, text="a", finish_reason=None) for number in range(between)]
    made = guarding(tmp_path)
    abort = chunk(index=1, text="", finish_reason="abort")
    answer = await ask(Guard(streaming(*tokens, abort, *tokens), made.gate))
    assert answer.body.count(b'"text":"a"') == between
    assert answer.body.endswith(b"}}\n\n")
    assert b"engine_aborted" in answer.body
    made.close()


# --- limits of tokens ------------------------------------------------------------------------------------------------


def limited(folder: Path, clock: list[float]) -> Gate:
    made = guarding(folder, lambda: clock[0], tokens_per_minute_per_key=10_000)
    return made.gate


def left(gate: Gate) -> float:
    return gate._limits.tokens.left("anonymous", gate.clock())


async def test_an_echoed_tool_that_is_named_like_usage_pays_nothing(tmp_path: Path) -> None:
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


async def test_a_stream_without_usage_whose_client_takes_it_slowly_pays_for_all_of_its_text(tmp_path: Path) -> None:
    """vLLM then puts the text of many tokens into an event."""
    gate = limited(tmp_path, [1.0])
    merged = [chunk(text="word " * 500, finish_reason=None) for _ in range(4)]
    await ask(Guard(streaming(*merged, b"data: [DONE]\n\n"), gate))
    assert 10_000 - left(gate) > 2000
    gate.close()


async def test_a_client_that_hangs_up_before_a_whole_answer_pays_for_its_time_and_its_prompt(tmp_path: Path) -> None:
    clock, begun = [1.0], asyncio.Event()
    gate = limited(tmp_path, clock)
    asked = asyncio.create_task(ask(Guard(waiting(begun), gate), body=[b"x" * 4000]))
    await begun.wait()
    clock[0] += 2
    asked.cancel()
    await asyncio.wait([asked])
    assert 10_000 - left(gate) == pytest.approx(1000 + 2 * 30)
    gate.close()


async def test_a_client_that_hangs_up_in_a_stream_pays_for_what_has_come_and_its_prompt(tmp_path: Path) -> None:
    begun = asyncio.Event()
    gate = limited(tmp_path, [1.0])
    tokens = [chunk(text="a", finish_reason=None)] * 100
    asked = asyncio.create_task(ask(Guard(waiting(begun, *tokens), gate), body=[b"x" * 4000]))
    await begun.wait()
    asked.cancel()
    await asyncio.wait([asked])
    assert 10_000 - left(gate) == pytest.approx(1000 + 98)
    gate.close()


async def test_a_flood_of_single_tokens_pays_for_its_prompts(tmp_path: Path) -> None:
    gate = limited(tmp_path, [1.0])
    body = b'{"choices":[{"text":"a","finish_reason":"length"}],"usage":{"prompt_tokens":3000,"completion_tokens":1}}'
    statuses = [(await ask(Guard(answering(body), gate))).status for _ in range(6)]
    assert statuses == [200, 200, 200, 200, 429, 429]
    gate.close()


@pytest.mark.parametrize("path", ["/tokenize", "/detokenize", "/v1/messages/count_tokens", "/v1/responses/x/cancel"])
async def test_what_the_front_end_computes_counts_as_a_request(tmp_path: Path, path: str) -> None:
    made = guarding(tmp_path, requests_per_minute_per_key=1, burst_per_key=2, max_in_flight=3)
    assert [(await ask(Guard(answering(b"{}"), made.gate), path)).status for _ in range(3)] == [200, 200, 429]
    assert made.control.counts().in_flight == 0
    made.close()


async def test_what_the_front_end_computes_is_in_flight_meanwhile(tmp_path: Path) -> None:
    made, begun = guarding(tmp_path, max_in_flight=1), asyncio.Event()
    first = asyncio.create_task(ask(Guard(waiting(begun), made.gate), "/tokenize"))
    await begun.wait()
    assert (await ask(Guard(answering(b"{}"), made.gate), CHAT)).status == 503
    first.cancel()
    await asyncio.wait([first])
    assert (await ask(Guard(answering(b"{}"), made.gate), CHAT)).status == 200
    made.close()


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
    (404, b'{"detail":"Not Found"}', 404, "not_found"),
    (501, b'{"error":{"code":501,"message":"This server does not support embeddings."}}', 404, "not_found"),
    (422, b'{"detail":[{"loc":["body"],"msg":"wrong"}]}', 400, "invalid_request"),
    (500, b'{"error":{"code":500,"message":"Failed to parse messages: x"}}', 400, "invalid_request"),
    (500, b"Internal Server Error", 500, "engine_error"),
    (500, b"", 500, "engine_error"),
    (500, b"{" * 10_000, 500, "engine_error"),
    (503, b'{"object":"error","message":"busy","code":503}', 503, "overloaded"),
    (400, b'{"type":"error","error":{"type":"BadRequestError","message":"no"}}', 400, "invalid_request"),
    (400, b'{"error":"no"}', 400, "invalid_request"),
    (400, b'{"error":{"message":{"a":"\\ud800"},"param":5}}', 400, "invalid_request"),
    (418, b"[]", 418, "invalid_request"),
    (500, b'{"error":{"message":"' + b"x" * 100_000 + b'"}}', 500, "engine_error"),
]


@pytest.mark.parametrize(("status", "body", "told", "code"), ERRORS)
async def test_whatever_an_engine_says_of_an_error_has_one_form(
    tmp_path: Path, status: int, body: bytes, told: int, code: str
) -> None:
    made = guarding(tmp_path)
    pieces = [body[: len(body) // 2], body[len(body) // 2 :]]
    answer = await ask(Guard(answering(*pieces, status=status), made.gate))
    error = json.loads(answer.body)["error"]
    assert (answer.status, error["code"], sorted(error)) == (told, code, ["code", "message", "param", "type"])
    assert isinstance(error["message"], str)
    assert error["message"]
    assert int(answer.headers["content-length"]) == len(answer.body)
    made.close()


async def test_an_engine_that_ends_within_an_event_of_a_stream_leaves_no_half_of_it(tmp_path: Path) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": chunk(text="a") + b'data: {"cho', "more_body": True})
        raise EngineGone

    made = guarding(tmp_path)
    answer = await ask(Guard(app, made.gate))
    assert answer.body.startswith(chunk(text="a") + b'data: {"error":')
    made.close()
