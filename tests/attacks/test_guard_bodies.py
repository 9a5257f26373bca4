"""Bodies that are unexpected, too many, too slow or too deep, or that refer to another key's response."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slipway_runtime.guard.asgi import Guard
from slipway_runtime.guard.bodies import GRACE, MOST_ITEMS, Body, slices
from slipway_runtime.guard.errors import BYTES_OF_A_BYTE, BYTES_OF_A_VALUE
from slipway_runtime.guard.exchange import Message, Scope
from slipway_runtime.guard.settings import GuardSettings
from support.fakes.virtual_time import run
from support.programs.guard import (
    CHAT,
    KEY,
    Answer,
    MakeGuard,
    answering,
    ask,
    guarding,
    keys_in,
    nothing,
    scope_of,
    several,
    streaming,
    waiting,
)

ALICE, BOB = ("Authorization", f"Bearer {KEY}"), ("Authorization", "Bearer a-key-of-bob")
RESPONSES = "/v1/responses"


@pytest.fixture
def make_guard(tmp_path: Path) -> Iterator[MakeGuard]:
    with several(tmp_path) as make_guard:
        yield make_guard


async def never() -> Message:
    raise AssertionError("the body was read")


async def sent_by(guard: Guard, scope: Scope, receive: Any = never) -> Answer:
    answer = Answer()

    async def send(message: Message) -> None:
        answer.messages.append(message)

    await guard(scope, receive, send)
    return answer


# --- bodies that aren't read -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [("content-length", "1"), ("transfer-encoding", "chunked")])
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/health"), ("HEAD", "/health"), ("GET", "/v1/models"), ("OPTIONS", "/v1/models"), ("OPTIONS", CHAT)],
)
async def test_the_body_of_a_request_that_takes_none_is_not_read(
    make_guard: MakeGuard, tmp_path: Path, method: str, path: str, length: tuple[str, str]
) -> None:
    guard = Guard(nothing, make_guard(keys=keys_in(tmp_path, alice=KEY)).gate)
    answer = await sent_by(guard, scope_of(path, method=method, headers=[ALICE, length]))
    assert (answer.status, answer.error, answer.headers["connection"]) == (413, "request_too_large", "close")


async def test_without_a_key_no_body_is_read_and_the_connection_closes(make_guard: MakeGuard, tmp_path: Path) -> None:
    guard = Guard(nothing, make_guard(keys=keys_in(tmp_path, alice=KEY)).gate)
    for path in (CHAT, "/tokenize"):
        answer = await sent_by(guard, scope_of(path, headers=[("transfer-encoding", "chunked")]))
        assert (answer.status, answer.headers["connection"]) == (401, "close")


@pytest.mark.parametrize("path", ["/tokenize", "/detokenize", "/v1/messages/count_tokens", "/v1/responses/x/cancel"])
async def test_requests_that_the_front_end_computes_take_small_bodies_only(make_guard: MakeGuard, path: str) -> None:
    guard = Guard(nothing, make_guard().gate)
    announced = await sent_by(guard, scope_of(path, headers=[("content-length", str((1 << 20) + 1))]))
    sent = await ask(guard, path, body=[b"x" * (1 << 20), b"x"])
    assert (announced.status, sent.status) == (413, 413)


async def test_a_body_whose_content_type_is_not_json_is_not_read(make_guard: MakeGuard) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""):
        answer = await sent_by(Guard(nothing, make_guard().gate), scope_of(CHAT, headers=[("content-type", kind)]))
        assert (answer.status, answer.error) == (415, "unsupported_media_type")


# --- size and speed --------------------------------------------------------------------------------------------------


def memory(size: int, values: int = 1) -> int:
    return BYTES_OF_A_BYTE * size + BYTES_OF_A_VALUE * values


async def test_the_memory_of_all_bodies_together_is_bounded_and_freed_when_they_end(make_guard: MakeGuard) -> None:
    guarding, started = make_guard(max_body_bytes=100, max_bodies_bytes=memory(100) + memory(50)), asyncio.Event()
    first = asyncio.create_task(ask(Guard(waiting(started), guarding.gate), body=[b"x" * 100]))
    await started.wait()
    refused = await ask(Guard(nothing, guarding.gate), body=[b"x" * 51])
    assert (refused.status, refused.error, refused.headers["retry-after"]) == (503, "overloaded", "1")
    assert (await ask(Guard(answering(b"{}"), guarding.gate), body=[b"x" * 50])).status == 200
    first.cancel()
    await asyncio.wait([first])
    assert (await ask(Guard(answering(b"{}"), guarding.gate), body=[b"x" * 100])).status == 200


async def test_one_key_leaves_room_for_the_bodies_of_others(make_guard: MakeGuard, tmp_path: Path) -> None:
    guarding = make_guard(
        keys=keys_in(tmp_path, alice=KEY, bob="a-key-of-bob"), max_body_bytes=100, max_bodies_bytes=2 * memory(100)
    )
    started = asyncio.Event()
    first = asyncio.create_task(ask(Guard(waiting(started), guarding.gate), headers=[ALICE], body=[b"x" * 100]))
    await started.wait()
    refused = await ask(Guard(nothing, guarding.gate), headers=[ALICE], body=[b"x"])
    assert (refused.status, refused.error) == (429, "too_many_in_flight")
    assert (await ask(Guard(answering(b"{}"), guarding.gate), headers=[BOB], body=[b"x" * 100])).status == 200
    first.cancel()
    await asyncio.wait([first])


async def test_bytes_of_clients_that_disconnect_while_they_send_are_freed(make_guard: MakeGuard) -> None:
    guarding = make_guard(max_body_bytes=100, max_bodies_bytes=100)
    for _ in range(3):
        messages = [
            {"type": "http.request", "body": b"x" * 90, "more_body": True},
            {"type": "http.disconnect"},
        ]

        async def receive(messages: list[Message] = messages) -> Message:  # type: ignore[assignment]
            return messages.pop(0)

        assert not (await sent_by(Guard(nothing, guarding.gate), scope_of(CHAT), receive)).messages
    assert guarding.control.counts().in_flight == 0


MIB = 1 << 20


def filled(unit: bytes, size: int, *, template: bytes = b'{"prompt":"Hi","max_tokens":1,"x":[%b]}') -> bytes:
    return template % (unit * (size // len(unit))).rstrip(b",")


@pytest.mark.parametrize(
    "unit", [b"1,", b'"",', b"[],", b"{},", b'{"":0},', b"[" * 99 + b"]" * 99 + b",", b'"\\",'], ids=str
)
async def test_values_that_need_more_memory_than_a_key_may_use_are_refused_before_the_engine_reads_them(
    make_guard: MakeGuard, tmp_path: Path, unit: bytes
) -> None:
    """As numbers, 30 MiB took 768 MiB of llama.cpp, and as objects 739; the limit is 256 MiB, and 128 MiB for a key."""
    guarding = make_guard(keys=keys_in(tmp_path, alice=KEY))
    answer = await ask(Guard(nothing, guarding.gate), headers=[ALICE], body=[filled(unit, 15 * MIB)])
    assert (answer.status, answer.error) == (413, "request_too_large")
    assert f"more than {128 * MIB} bytes of memory" in json.loads(answer.body)["error"]["message"]


async def test_parsed_values_are_charged_in_addition_to_their_bytes_until_their_request_ends(
    make_guard: MakeGuard,
) -> None:
    body = b'{"prompt":[%b]}' % b",".join([b"1"] * 100)
    guarding, started = (
        make_guard(max_bodies_bytes=2 * memory(len(body), 103) - 1, max_body_bytes=1000),
        asyncio.Event(),
    )
    first = asyncio.create_task(ask(Guard(waiting(started), guarding.gate), body=[body]))
    await started.wait()
    refused = await ask(Guard(nothing, guarding.gate), body=[body])
    assert (refused.status, refused.error) == (503, "overloaded")
    first.cancel()
    await asyncio.wait([first])
    assert (await ask(Guard(answering(b"{}"), guarding.gate), body=[body])).status == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", filled(b"151643,", 7 * 200_000, template=b'{"prompt":[%b]}')),
        ("/v1/embeddings", filled(b"151643,", 7 * 200_000, template=b'{"input":[%b]}')),
        ("/v1/embeddings", filled(b'"%b",' % (b"word, " * 500), 3003 * 1000, template=b'{"input":[%b]}')),
        ("/v1/completions", b'{"prompt":"Hi","logit_bias":{%b}}' % b",".join(b'"%d":-100' % n for n in range(2000))),
        (CHAT, json.dumps({"messages": [{"role": "user", "content": "So, so. " * 500}] * 1000}).encode()),
        (
            CHAT,
            json.dumps({"messages": [], "tools": [{"function": {"parameters": [{"a": [1] * 99}] * 9}}] * 128}).encode(),
        ),
        (CHAT, filled(b"A", 26_700_000, template=b'{"messages":[{"content":[{"image_url":{"url":"%b"}}]}]}')),
    ],
    ids=[
        "a prompt of tokens",
        "tokens to embed",
        "1,000 strings",
        "logit_bias",
        "a long chat",
        "tools",
        "a picture of 20 MB",
    ],
)
async def test_ordinary_requests_fit_within_the_limits(
    make_guard: MakeGuard, tmp_path: Path, path: str, body: bytes
) -> None:
    guard = Guard(answering(b"{}"), make_guard(keys=keys_in(tmp_path, alice=KEY)).gate)
    assert (await ask(guard, path, headers=[ALICE], body=[body])).status == 200


@pytest.mark.parametrize(
    ("path", "template", "unit"),
    [
        (CHAT, b'{"messages":[%b]}', b"0,"),
        (CHAT, b'{"messages":[%b]}', b"{},"),
        (CHAT, b'{"messages":[{"role":"user","content":[%b]}]}', b"0,"),
        (CHAT, b'{"tools":[%b]}', b"null,"),
        (RESPONSES, b'{"input":[%b]}', b"0,"),
        (RESPONSES, b'{"input":[{"content":[%b]}]}', b"[],"),
        ("/v1/embeddings", b'{"input":[%b]}', b'"a",'),
        ("/v1/embeddings", b'{"input":["a",%b]}', b"1,"),
        ("/v1/embeddings", b'{"input":[%b]}', b"1.5,"),
        ("/v1/completions", b'{"stop":[%b]}', b"0,"),
        ("/v1/rerank", b'{"query":"a","documents":[%b]}', b'"b",'),
        ("/v1/rerank", b'{"query":[%b]}', b"0,"),
        ("/score", b'{"text_1":"a","text_2":[%b]}', b"0,"),
        ("/score", b'{"queries":[%b]}', b"{},"),
        ("/score", b'{"data_1":"a","items":[%b]}', b"[],"),
        ("/classify", b'{"input":[%b]}', b'"a",'),
    ],
)
async def test_too_many_items_are_refused_since_engines_take_kilobytes_for_each(
    make_guard: MakeGuard, path: str, template: bytes, unit: bytes
) -> None:
    """For 32,768 numbers (64 KiB) as a response's input, vLLM took 17 GiB: it reports every error of each number."""
    few, many = (template % (unit * number).rstrip(b",") for number in (MOST_ITEMS - 1, MOST_ITEMS + 1))
    answer = await ask(Guard(nothing, make_guard().gate), path, body=[many])
    assert (answer.status, answer.error) == (413, "request_too_large")
    assert (await ask(Guard(answering(b"{}"), make_guard().gate), path, body=[few])).status == 200


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "multipart/form-data", "text/plain"])
async def test_an_endless_form_is_cut_off_at_the_limit_of_a_body(make_guard: MakeGuard, kind: str) -> None:
    guarding, pieces = make_guard(max_body_bytes=MIB, max_bodies_bytes=4 * MIB), 0

    async def receive() -> Message:
        nonlocal pieces
        pieces += 1
        return {"type": "http.request", "body": b"--x\r\n" * (MIB // 80), "more_body": True}

    scope = scope_of("/v1/audio/transcriptions", headers=[("content-type", kind)])
    answer = await sent_by(Guard(nothing, guarding.gate), scope, receive)
    assert (answer.status, answer.error) == (413, "request_too_large")
    assert pieces <= 18


async def test_a_form_is_passed_on_as_it_is_and_charged_by_its_bytes(make_guard: MakeGuard, tmp_path: Path) -> None:
    """How many parts it has, and whether it has a boundary, only the engine sees, within the limit of its bytes."""
    guarding = make_guard(keys=keys_in(tmp_path, alice=KEY), tokens_per_minute_per_key=10)
    form = b'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\nb\r\n' * 1000
    headers = [ALICE, ("content-type", "multipart/form-data; boundary=x")]
    guard = Guard(answering(b"fine", content_type="text/plain"), guarding.gate)
    assert (await ask(guard, "/v1/audio/transcriptions", headers=headers, body=[form])).status == 200
    refused = await ask(guard, "/v1/audio/transcriptions", headers=headers, body=[form])
    assert (refused.status, refused.error) == (429, "token_limit_exceeded")


def test_a_body_that_trickles_in_is_cut_off_at_its_deadline(tmp_path: Path) -> None:
    async def dripping() -> tuple[Answer, float]:
        async def receive() -> Message:
            await asyncio.sleep(GRACE - 1)
            return {"type": "http.request", "body": b"x", "more_body": True}

        guarded = guarding(tmp_path, asyncio.get_running_loop().time)
        start = asyncio.get_running_loop().time()
        answer = await sent_by(Guard(nothing, guarded.gate), scope_of(CHAT), receive)
        guarded.close()
        return answer, asyncio.get_running_loop().time() - start

    answer, seconds = run(dripping())
    assert (answer.status, answer.error, answer.headers["connection"]) == (408, "request_timeout", "close")
    assert seconds == pytest.approx(GRACE, abs=1)


# --- content ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"other"}',
        b'{"mod\\u0065l":"other"}',
        b'{"model":"gemma","model":"other"}',
        b'{"model":"other","model":"gemma"}',
        b'\xef\xbb\xbf{"model":"other"}',
        b' \n\t{"x":[{"model":"gemma"}],"model" : "other"}',
        b'{"x":"\\"","model":"other"}',
        b'{"model":"' + b"gemma" * 2000 + b'"}',
        b'{"model":"Gemma"}',
        b'{"model":"gemma "}',
        b'{"model":"\\ud800"}',
    ],
)
@pytest.mark.parametrize("cut", [1, 5, 1 << 20])
async def test_a_model_that_is_not_served_is_not_found_however_it_is_written(
    make_guard: MakeGuard, body: bytes, cut: int
) -> None:
    guard = Guard(nothing, make_guard(models=("gemma", "sql")).gate)
    answer = await ask(guard, body=[body[at : at + cut] for at in range(0, len(body), cut)])
    assert (answer.status, answer.error) == (404, "model_not_found")


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"model":"gemma"}',
        b'{"model":"sql"}',
        b'{"model":null}',
        b'{"model":""}',
        b'{"model":"g\\u0065mma"}',
        b'{"messages":[{"model":"other","content":"\\"model\\":\\"other\\""}],"metadata":{"model":"other"}}',
        b"",
        b"[]",
        b'{"model"',
    ],
)
async def test_requests_for_the_served_model_or_without_a_model_reach_the_engine(
    make_guard: MakeGuard, body: bytes
) -> None:
    assert (await ask(Guard(answering(b"{}"), make_guard(models=("gemma", "sql")).gate), body=[body])).status == 200


@pytest.mark.parametrize("value", ["5", "{}", "[]", "true", '["gemma"]'])
async def test_a_model_that_is_not_a_string_is_refused(make_guard: MakeGuard, value: str) -> None:
    answer = await ask(Guard(nothing, make_guard(models=("gemma",)).gate), body=[f'{{"model":{value}}}'.encode()])
    assert (answer.status, answer.error) == (400, "invalid_request")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
async def test_json_in_an_encoding_that_the_scanner_cannot_read_is_refused(
    make_guard: MakeGuard, encoding: str
) -> None:
    body = json.dumps({"model": "other", "previous_response_id": "resp_of_alice"}).encode(encoding)
    answer = await ask(Guard(nothing, make_guard().gate), body=[body[:1], body[1:2], body[2:]])
    assert (answer.status, answer.error) == (400, "invalid_request")


@pytest.mark.parametrize("opening", [b"[", b'{"x":', b'[{"x":'])
async def test_json_nested_deeply_enough_to_crash_a_parser_is_refused(make_guard: MakeGuard, opening: bytes) -> None:
    answer = await ask(Guard(nothing, make_guard().gate), body=[b'{"tools":', opening * 100_000])
    assert (answer.status, answer.error) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("temperature", -1), ("temperature", 99), ("top_p", 0), ("top_p", 1.1), ("n", 0), ("max_tokens", -1)),
        *(("presence_penalty", 5), ("frequency_penalty", -7), ("repetition_penalty", 0), ("top_k", -5), ("min_p", 3)),
        *(("top_logprobs", 21), ("n_probs", 140_000), ("logprobs", 1e9), ("logprobs", -1), ("min_tokens", -1)),
    ],
)
async def test_numbers_beyond_what_the_api_allows_are_refused_by_name(
    make_guard: MakeGuard, name: str, value: float
) -> None:
    answer = await ask(Guard(nothing, make_guard().gate), body=[json.dumps({name: value}).encode()])
    assert (answer.status, answer.error) == (400, "invalid_request")
    assert json.loads(answer.body)["error"]["param"] == name


@pytest.mark.parametrize(
    ("name", "value"),
    [("logprobs", True), ("logprobs", 20), ("top_logprobs", 0), ("top_k", -1), ("top_k", 0), ("min_p", 1)],
)
async def test_numbers_that_the_api_allows_reach_the_engine(make_guard: MakeGuard, name: str, value: object) -> None:
    assert (
        await ask(Guard(answering(b"{}"), make_guard().gate), body=[json.dumps({name: value}).encode()])
    ).status == 200


async def test_more_log_probabilities_are_accepted_where_they_are_allowed(make_guard: MakeGuard) -> None:
    guard = Guard(answering(b"{}"), make_guard(max_logprobs=100).gate)
    statuses = [(await ask(guard, body=[b'{"top_logprobs":%d}' % number])).status for number in (100, 101)]
    assert statuses == [200, 400]


@pytest.mark.parametrize("path", [RESPONSES, "/v1/messages"])
@pytest.mark.parametrize("name", ["n", "n_cmpl"])
async def test_an_api_with_one_choice_refuses_requests_for_more(make_guard: MakeGuard, path: str, name: str) -> None:
    answer = await ask(Guard(nothing, make_guard().gate), path, body=[json.dumps({name: 2}).encode()])
    assert (answer.status, answer.error) == (400, "invalid_request")


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    ("fields", "prompts", "answers"),
    [
        ({"prompt": "Hi"}, 1, 1),
        ({"prompt": [1, 2, 3]}, 1, 1),
        ({"prompt": []}, 1, 1),
        ({"prompt": ["Hi"] * 1500}, 1500, 1),
        ({"prompt": [[1, 2], [3]], "n": 3}, 2, 3),
        ({"prompt": [{"prompt_string": "Hi"}] * 4, "n_cmpl": 2, "n": 1}, 4, 2),
        ({"prompt": ["word " * 5000] * 2}, 2, 1),
        ({"messages": [{"content": "Hi"}, {"content": "Hi"}], "n": 2.0}, 1, 2),
    ],
)
def test_the_number_of_requested_choices_is_read_from_the_body(
    fields: object, prompts: int, answers: int, size: int
) -> None:
    data, body = json.dumps(fields).encode(), Body("/v1/completions", GuardSettings(), owns=None)
    for part in slices(data[at : at + size] for at in range(0, len(data), size)):
        body.feed(part)
    body.end()
    assert (body.prompts, body.answers) == (prompts, answers)


# --- stored responses ------------------------------------------------------------------------------------------------


COMPLETED = answering(b'{"id":"resp_of_alice","status":"completed","metadata":{"id":"resp_of_bob"}}')
CREATED = b'event: response.created\ndata: {"type":"response.created","response":{"id":"resp_of_alice"}}\n\n'


@pytest.mark.parametrize("app", [COMPLETED, streaming(CREATED)], ids=["whole", "a stream"])
async def test_a_stored_response_is_available_only_to_the_key_that_created_it(
    make_guard: MakeGuard, tmp_path: Path, app: Any
) -> None:
    gate = make_guard(keys=keys_in(tmp_path, alice=KEY, bob="a-key-of-bob")).gate
    await ask(Guard(app, gate), RESPONSES, headers=[ALICE])
    going_on = json.dumps({"previous_response_id": "resp_of_alice"}).encode()
    guard = Guard(answering(b"{}"), gate)
    for method, path, body in (
        ("GET", f"{RESPONSES}/resp_of_alice", b""),
        ("POST", f"{RESPONSES}/resp_of_alice/cancel", b""),
        ("POST", RESPONSES, going_on),
    ):
        assert (await ask(guard, path, method=method, headers=[ALICE], body=[body])).status == 200
        refused = await ask(Guard(nothing, gate), path, method=method, headers=[BOB], body=[body])
        unknown = await ask(
            Guard(nothing, gate),
            path.replace("resp_of_alice", "resp_of_carol"),
            method=method,
            headers=[BOB],
            body=[body.replace(b"resp_of_alice", b"resp_of_carol")],
        )
        assert (refused.status, refused.error) == (unknown.status, unknown.error) == (404, "not_found")
        assert refused.body == unknown.body.replace(b"carol", b"alice")


@pytest.mark.parametrize(
    "body",
    [
        b'{"previous_response_id":null,"previous_response_id":"resp_of_alice"}',
        b'{"previous_response_id":"resp_of_alice","previous_response_id":null}',
        b'{"previous_response\\u005fid":"resp_of_alice"}',
        b'{"previous_response_id":"resp\\u005fof_alice"}',
        b'{"previous_response_id":{"id":"resp_of_alice"}}',
        b'{"previous_response_id":"' + b"x" * 10_000 + b'"}',
    ],
)
async def test_no_key_can_continue_another_keys_response_however_it_is_named(
    make_guard: MakeGuard, tmp_path: Path, body: bytes
) -> None:
    gate = make_guard(keys=keys_in(tmp_path, alice=KEY, bob="a-key-of-bob")).gate
    await ask(Guard(COMPLETED, gate), RESPONSES, headers=[ALICE])
    assert (await ask(Guard(nothing, gate), RESPONSES, headers=[BOB], body=[body])).status == 404


async def test_no_key_can_take_over_the_id_of_another_keys_response(make_guard: MakeGuard, tmp_path: Path) -> None:
    gate = make_guard(keys=keys_in(tmp_path, alice=KEY, bob="a-key-of-bob")).gate
    await ask(Guard(COMPLETED, gate), RESPONSES, headers=[ALICE])
    chosen = await ask(Guard(nothing, gate), RESPONSES, headers=[BOB], body=[b'{"request_id":"resp_of_alice"}'])
    assert (chosen.status, chosen.error) == (400, "invalid_request")
    await ask(Guard(COMPLETED, gate), RESPONSES, headers=[BOB])  # an engine that assigns an id twice
    read = await ask(Guard(nothing, gate), f"{RESPONSES}/resp_of_alice", method="GET", headers=[BOB])
    assert read.status == 404


async def test_without_keys_any_client_that_knows_the_id_may_read_the_response(make_guard: MakeGuard) -> None:
    answer = await ask(Guard(answering(b"{}"), make_guard().gate), f"{RESPONSES}/resp_x", method="GET", body=[b""])
    assert answer.status == 200
