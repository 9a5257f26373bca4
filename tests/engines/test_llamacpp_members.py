"""A small request with llama.cpp's own members can't end the pod, fill its memory, or block the engine for others."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from support.builders.model_files import write_gguf
from support.programs.llamacpp_pod import LlamacppPod

COMPLETIONS, CHAT, RESPONSES = "/v1/completions", "/v1/chat/completions", "/v1/responses"
HI: dict[str, Any] = {"prompt": "Hi", "max_tokens": 2}
CHATTING: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
LAZY = {**HI, "grammar": 'root ::= "a"', "grammar_lazy": True}
DEEP = "root ::= " + "(" * 200_000 + '"a"' + ")" * 200_000


def formatted(schema: Any) -> dict[str, Any]:
    return {**CHATTING, "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}}


def within(schema: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": schema}, "required": ["a"]}


def chain(number: int) -> dict[str, Any]:
    further = {f"r{at}": within({"$ref": f"#/$defs/r{at + 1}"}) for at in range(number)}
    return {"$defs": {**further, f"r{number}": {"type": "integer"}}, "$ref": "#/$defs/r0"}


ENDED_THE_ENGINE = [
    (COMPLETIONS, {**HI, "grammar_triggers": [{"type": 99, "value": "x"}]}),
    (COMPLETIONS, {**LAZY, "grammar_triggers": [{"type": 2, "value": "(" * 100_000 + ")" * 100_000}]}),
    (COMPLETIONS, {**HI, "grammar": DEEP}),
    (CHAT, {**CHATTING, "grammar": DEEP}),
    (RESPONSES, {"input": "Hi", "grammar": DEEP}),
    (COMPLETIONS, {**HI, "json_schema": chain(5000)}),
    (CHAT, formatted({"$defs": {"r": {"$ref": "#/$defs/r"}}, "type": "object", "allOf": [{"$ref": "#/$defs/r"}]})),
]
FILLED_MEMORY = [
    (COMPLETIONS, {**HI, "json_schema": {"type": "array", "minItems": 10**9, "items": {}}}),
    (COMPLETIONS, {**HI, "repeat_penalty": 1.1, "repeat_last_n": 60_000_000}),
    (COMPLETIONS, {**HI, "dry_multiplier": 0.8, "dry_penalty_last_n": 60_000_000}),
    (COMPLETIONS, {**HI, "grammar": 'root ::= "a"{2,1}'}),
    (CHAT, formatted(within({"type": "array", "minItems": 5, "maxItems": 2, "items": {}}))),
    (CHAT, formatted(within({"type": "string", "pattern": "^a{5,2}$"}))),
    (CHAT, formatted(within({"type": "integer", "minimum": -(2**63), "maximum": -(2**63) + 1}))),
]
BLOCKED_THE_ENGINE = [
    (COMPLETIONS, {**HI, "dry_multiplier": 0.8, "samplers": "d" * 20_000}),
    (COMPLETIONS, {**LAZY, "grammar_triggers": [{"type": 2, "value": "(?:(?:[^z]+)+)+zzz"}]}),
    (COMPLETIONS, {**HI, "stop": ["a" * 1_000_000]}),
    (COMPLETIONS, {**HI, "grammar": "root ::= " + '"a"? ' * 900 + '"b"'}),
    (CHAT, formatted({"type": ["object"] * 1000, "properties": {f"p{at}": {} for at in range(50)}})),
]


@pytest.fixture
async def tiny(pod: LlamacppPod, tmp_path: Path) -> LlamacppPod:
    await pod.serve(write_gguf(tmp_path / "tiny.gguf"), "--context-length=2048", "--parallel=2")
    await pod.until_ready()
    return pod


async def response_to(pod: LlamacppPod, path: str, body: Any) -> tuple[int, Any]:
    async with asyncio.timeout(60), pod.http.post(pod.url + path, json=body) as answer:
        return answer.status, await answer.json()


def mib(pod: LlamacppPod) -> int:
    """Of the largest of its processes, which is the engine."""
    found, pids = 0, [pod.process.pid]
    while pids:
        pid = pids.pop()
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        pids += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        found = max([found, *(int(line.split()[1]) >> 10 for line in lines if line.startswith("VmRSS"))])
    return found


async def test_requests_that_ended_filled_or_blocked_the_engine_are_refused_and_it_continues(tiny: LlamacppPod) -> None:
    await response_to(tiny, COMPLETIONS, HI)
    before = mib(tiny)
    for path, body in (*ENDED_THE_ENGINE, *FILLED_MEMORY, *BLOCKED_THE_ENGINE):
        status, response = await response_to(tiny, path, body)
        assert (status, response["error"]["code"]) == (400, "invalid_request"), body
        assert response["error"]["param"] in body
    assert (await response_to(tiny, COMPLETIONS, HI))[0] == 200
    assert mib(tiny) - before < 50


async def test_the_allowed_maximum_neither_ends_nor_fills_it(tiny: LlamacppPod) -> None:
    await response_to(tiny, COMPLETIONS, HI)
    before, started = mib(tiny), time.monotonic()
    nested: dict[str, Any] = {"type": "integer"}
    for _ in range(18):
        nested = within(nested)
    references = {f"r{at}": nested for at in range(20)}
    far = {"$defs": references, **within({"anyOf": [{"$ref": f"#/$defs/r{at}"} for at in range(20)]})}
    items = within({"type": "array", "minItems": 1000, "maxItems": 2000, "items": {}})
    for schema in (chain(63), far, items, within({"type": "string", "maxLength": 2_000_000})):
        await response_to(tiny, COMPLETIONS, {**HI, "json_schema": schema})
        await response_to(tiny, CHAT, formatted(schema))
    brackets = "root ::= " + "(" * 256 + '"a"{0,1000}' + ")" * 256
    for body in (
        {**HI, "grammar": brackets},
        {**HI, "grammar": "root ::= " + '"a"? ' * 64 + '"b"', "max_tokens": 10},
        {**HI, "repeat_penalty": 1.1, "repeat_last_n": 65536, "dry_multiplier": 0.8, "dry_penalty_last_n": 65536},
        {**HI, "dry_multiplier": 0.8, "samplers": "d" * 16, "stop": ["a" * 250] * 60},
    ):
        assert (await response_to(tiny, COMPLETIONS, body))[0] == 200, body
    assert mib(tiny) - before < 50
    assert time.monotonic() - started < 60


async def test_a_number_means_the_same_to_guard_and_engine_however_it_is_cut(tiny: LlamacppPod) -> None:
    head, number = b'{"prompt":"Hi","max_tokens":1,"pad":"', b"2." + b"0" * 40 + b"e2"
    middle = b'","n_probs":'
    pad = 8192 - len(head) - len(middle) - len(number) + 1
    data = head + b"a" * pad + middle + number + b"}"
    async with tiny.http.post(
        tiny.url + COMPLETIONS, data=data, headers={"content-type": "application/json"}
    ) as answer:
        assert (answer.status, (await answer.json())["error"]["param"]) == (400, "n_probs")


async def test_a_token_that_does_not_exist_is_the_clients_mistake(tiny: LlamacppPod) -> None:
    for token in (-1, 10**9):
        status, response = await response_to(tiny, "/detokenize", {"tokens": [token]})
        assert (status, response["error"]["code"], response["error"]["param"]) == (400, "invalid_request", "tokens")


async def test_a_grammar_still_constrains_the_response(tiny: LlamacppPod) -> None:
    _, response = await response_to(tiny, COMPLETIONS, {**HI, "grammar": 'root ::= "ab"'})
    assert response["choices"][0]["text"] == "ab"
