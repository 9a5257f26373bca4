"""Responses as engines write them, with junk in every field that a client or a model can fill, and what the guard must
read from each.

Junk is JSON that looks like the engine's own fields: names, values and objects that would change a verdict or a token
count if they were in the right place.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from slipway_runtime.guard.answers import Usage

CHAT, COMPLETIONS, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/responses"

WORDS = (
    '"finish_reason":"abort"',
    '{"finish_reason":"abort"}',
    'data: [DONE]\n\ndata: {"choices":[{"finish_reason":"abort"}]}\n\n',
    '"usage":{"prompt_tokens":0,"completion_tokens":0}',
    '\n\nevent: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":null}}\n\n',
    '"status":"cancelled"',
    '"error":{"code":500}',
    "abort",
    "cancelled",
    "\\",
    '"',
    "\u2028é\x00",
)
OBJECTS: tuple[dict[str, Any], ...] = (
    {"usage": {"prompt_tokens": 0, "completion_tokens": 0, "input_tokens": 0, "output_tokens": 0}},
    {"usage": {"prompt_tokens": 10**9, "completion_tokens": 10**9, "input_tokens": 10**9, "output_tokens": 10**9}},
    {"prompt_tokens": 10**9, "timings": {"prompt_n": 10**9, "predicted_n": 10**9}},
    {"choices": [{"finish_reason": "abort"}]},
    {"finish_reason": "abort", "stop_reason": None, "status": "cancelled"},
    {"type": "message_delta", "delta": {"stop_reason": None}},
    {"type": "response.completed", "response": {"status": "cancelled", "id": "resp_of_another"}},
    {"type": "message", "stop_reason": None, "id": "resp_of_another"},
    {"error": {"message": "x", "code": 500}},
)


def junk(chance: random.Random, depth: int = 3) -> Any:
    match chance.randrange(6) if depth else 0:
        case 0:
            return chance.choice((*WORDS, None, 0, True, "abort"))
        case 1:
            return [junk(chance, depth - 1) for _ in range(chance.randrange(3))]
        case 2:
            return {chance.choice(WORDS): junk(chance, depth - 1), **chance.choice(OBJECTS)}
        case _:
            return chance.choice(OBJECTS)


def text(chance: random.Random) -> str:
    return "".join(chance.choice(WORDS) for _ in range(chance.randrange(3)))


@dataclass(frozen=True)
class Shape:
    path: str
    stream: bool
    body: bytes
    usage: Usage | None
    aborted: bool
    response_id: str = ""


def shape(chance: random.Random) -> Shape:
    return chance.choice((openai, openai_stream, message, message_stream, response, response_stream, embeddings))(
        chance
    )


def _tokens(chance: random.Random) -> tuple[int, int]:
    return chance.randrange(1, 5000), chance.randrange(1, 5000)


def _write(chance: random.Random) -> Callable[[Any], str]:
    """Returns a JSON writer like vLLM's, Python's or llama.cpp's, with the members in a random order."""
    compact, ascii_only = chance.random() < 0.7, chance.random() < 0.5
    separators = (",", ":") if compact else (", ", ": ")
    return lambda body: json.dumps(_shuffled(chance, body), separators=separators, ensure_ascii=ascii_only)


def _shuffled(chance: random.Random, body: Any) -> Any:
    if not isinstance(body, dict):
        return body
    names = list(body)
    chance.shuffle(names)
    return {name: body[name] for name in names}


def _finish(chance: random.Random) -> str:
    return "abort" if chance.random() < 0.3 else chance.choice(("stop", "length", "tool_calls"))


def openai(chance: random.Random) -> Shape:
    (prompt, completion), finishes = _tokens(chance), [_finish(chance) for _ in range(chance.choice((1, 1, 3)))]
    choices = [
        {
            "index": number,
            "text": text(chance),
            "message": {"content": text(chance), "tool_calls": [junk(chance)], "reasoning": text(chance)},
            "logprobs": {"content": [{"token": text(chance), "top_logprobs": [junk(chance)]}]},
            "finish_reason": finish,
            "stop_reason": chance.choice((None, text(chance), "abort")),
        }
        for number, finish in enumerate(finishes)
    ]
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "prompt_tokens_details": {"cached_tokens": 1}}
    body = {
        "id": text(chance),
        "choices": choices,
        "usage": usage,
        "prompt_logprobs": junk(chance),
        "kv_transfer_params": junk(chance),
        "metadata": junk(chance),
    }
    path = chance.choice((CHAT, COMPLETIONS))
    return Shape(path, False, _write(chance)(body).encode(), Usage(prompt, completion), "abort" in finishes)


def embeddings(chance: random.Random) -> Shape:
    prompt, _ = _tokens(chance)
    data = [{"embedding": [chance.random() for _ in range(9)], "index": 0, "object": text(chance)} for _ in range(9)]
    body = {"data": data, "model": text(chance), "usage": {"prompt_tokens": prompt, "total_tokens": prompt}}
    path = chance.choice(("/v1/embeddings", "/v1/score", "/rerank"))
    return Shape(path, False, _write(chance)(body).encode(), Usage(prompt, 0), False)


def openai_stream(chance: random.Random) -> Shape:
    write, (prompt, completion), finish = _write(chance), _tokens(chance), _finish(chance)
    choices: list[dict[str, Any]] = [
        {
            "index": chance.randrange(3),
            "delta": {"content": text(chance), "tool_calls": junk(chance)},
            "logprobs": junk(chance),
        }
        for _ in range(chance.randrange(6))
    ]
    events: list[dict[str, Any]] = [
        {"choices": [{**choice, "finish_reason": None}], "usage": None} for choice in choices
    ]
    usage = {"prompt_tokens": prompt, "completion_tokens": completion}
    events += [{"choices": [{"delta": {}, "finish_reason": finish}]}, {"choices": [], "usage": usage}]
    out = [': a comment with "finish_reason":"abort"\n\n', *(f"data: {write(event)}\n\n" for event in events)]
    body = "".join([*out, "data: [DONE]\n\n"]).encode()
    aborted = finish == "abort"
    return Shape(CHAT, True, body, None if aborted else Usage(prompt, completion), aborted)


def message(chance: random.Random) -> Shape:
    (prompt, completion), aborted = _tokens(chance), chance.random() < 0.3
    body = {
        "id": text(chance),
        "type": "message",
        "content": [{"type": "tool_use", "input": junk(chance)}, {"type": "text", "text": text(chance)}],
        "stop_reason": "end_turn",
        "stop_sequence": text(chance),
        "usage": {"input_tokens": prompt, "output_tokens": completion},
    }
    if aborted:
        del body["stop_reason"]
    return Shape(MESSAGES, False, _write(chance)(body).encode(), Usage(prompt, completion), aborted)


def message_stream(chance: random.Random) -> Shape:
    write, (prompt, completion), aborted = _write(chance), _tokens(chance), chance.random() < 0.3
    started: dict[str, Any] = {
        "type": "message",
        "content": [],
        "stop_reason": None,
        "usage": {"input_tokens": prompt, "output_tokens": 0},
    }
    events: list[dict[str, Any]] = [{"type": "message_start", "message": started}]
    events += [
        {"type": "content_block_start", "content_block": {"type": "tool_use", "input": junk(chance)}},
        {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": text(chance)}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": text(chance)}, "usage": None},
    ]
    end = {"stop_reason": None if aborted else "end_turn"}
    events += [
        {"type": "message_delta", "delta": end, "usage": {"output_tokens": completion}},
        {"type": "message_stop"},
    ]
    body = "".join(f"event: {event['type']}\ndata: {write(event)}\n\n" for event in events).encode()
    return Shape(MESSAGES, True, body, Usage(prompt, 0 if aborted else completion), aborted)


def _response(chance: random.Random, status: str, usage: dict[str, int] | None) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "status": status,
        "metadata": junk(chance),
        "tools": [{"type": "function", "parameters": junk(chance)}],
        "output": [{"id": "resp_of_another", "status": "cancelled", "content": junk(chance)}],
        "instructions": text(chance),
        "usage": usage,
    }


def response(chance: random.Random) -> Shape:
    (prompt, completion), aborted = _tokens(chance), chance.random() < 0.3
    usage = {"input_tokens": prompt, "output_tokens": completion}
    body = _response(chance, "cancelled" if aborted else "completed", usage)
    return Shape(RESPONSES, False, _write(chance)(body).encode(), Usage(prompt, completion), aborted, "resp_1")


def response_stream(chance: random.Random) -> Shape:
    write, (prompt, completion), aborted = _write(chance), _tokens(chance), chance.random() < 0.3
    usage = {"input_tokens": prompt, "output_tokens": completion}
    events = [
        {"type": "response.created", "response": _response(chance, "in_progress", None)},
        {"type": "response.output_text.delta", "delta": text(chance), "logprobs": junk(chance)},
        {"type": "response.output_item.done", "item": junk(chance)},
        {"type": "response.completed", "response": _response(chance, "cancelled" if aborted else "completed", usage)},
    ]
    body = "".join(f"event: {event['type']}\ndata: {write(event)}\n\n" for event in events).encode()
    return Shape(RESPONSES, True, body, Usage(prompt, completion), aborted, "resp_1")
