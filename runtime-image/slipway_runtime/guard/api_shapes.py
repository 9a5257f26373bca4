"""Where the responses of each API have the values that the guard reads."""

from __future__ import annotations

import re
from dataclasses import dataclass

from slipway_runtime.guard.scanner import THERE, Tree

_OPENAI: Tree = {b"prompt_tokens": "prompt", b"completion_tokens": "completion", b"total_tokens": "total"}
_OTHERS: Tree = {b"input_tokens": "prompt", b"output_tokens": "completion"}
_ANTHROPIC: Tree = {**_OTHERS, b"cache_read_input_tokens": "cached", b"cache_creation_input_tokens": "created"}
_TIMINGS: Tree = {name.encode(): name for name in ("cache_n", "prompt_n", "prompt_ms", "predicted_n", "predicted_ms")}
_DELTA: Tree = {
    **dict.fromkeys((b"content", b"reasoning", b"reasoning_content", b"text", b"partial_json", b"thinking"), "text"),
    b"tool_calls": {None: {b"function": {b"arguments": "text"}}},
}
_CHOICE: Tree = {b"index": "index", b"finish_reason": "finish", b"text": "text", b"delta": _DELTA, b"message": _DELTA}
_ERROR: Tree = {THERE: "error"}


def _texts(*names: str) -> re.Pattern[bytes]:
    return re.compile(rb'(?s)"(?:%b)"\s*:\s*"([^"\\]*+(?:\\.[^"\\]*+)*+)"' % "|".join(names).encode())


@dataclass(frozen=True)
class Api:
    """Where an API's responses have the values, and the bytes by which an event that has any of them is recognised."""

    whole: Tree
    event: Tree
    signs: tuple[bytes, ...]
    texts: re.Pattern[bytes]
    """Finds the text in an event that has none of them."""


CHAT = Api(
    whole={b"choices": {None: {THERE: "choice", **_CHOICE}}, b"usage": _OPENAI, b"timings": {THERE: "one", **_TIMINGS}},
    event={b"choices": {None: _CHOICE}, b"usage": _OPENAI, b"timings": _TIMINGS, b"error": _ERROR},
    signs=(b'"abort"', b'"timings"', b'"error"'),
    texts=_texts("content", "reasoning", "reasoning_content", "text", "arguments"),
)
AUDIO = Api(
    whole={b"usage": {**_OPENAI, b"seconds": "seconds"}, b"duration": "seconds", b"text": "text"},
    event=CHAT.event,
    signs=CHAT.signs,
    texts=CHAT.texts,
)
MESSAGES = Api(
    whole={b"type": "type", b"stop_reason": "stop", b"usage": _ANTHROPIC},
    event={
        b"type": "type",
        b"message": {b"usage": _ANTHROPIC},
        b"delta": {**_DELTA, b"stop_reason": "stop"},
        b"usage": _ANTHROPIC,
        b"error": _ERROR,
    },
    signs=(b'"message_start"', b'"message_delta"', b'"message_stop"', b'"error"'),
    texts=_texts("text", "partial_json", "thinking"),
)
RESPONSES = Api(
    whole={b"id": "id", b"status": "status", b"usage": _OTHERS},
    event={
        b"type": "type",
        b"delta": "text",
        b"response": {b"id": "id", b"status": "status", b"usage": _OTHERS},
        b"error": _ERROR,
    },
    signs=(b'"response"', b'"error"'),
    texts=_texts("delta"),
)
_APIS = {
    "/v1/messages": MESSAGES,
    "/v1/responses": RESPONSES,
    "/v1/audio/transcriptions": AUDIO,
    "/v1/audio/translations": AUDIO,
}


def api_of(path: str) -> Api:
    return _APIS.get(path, CHAT)
