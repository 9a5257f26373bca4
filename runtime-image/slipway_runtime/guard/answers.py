"""What can be learned from an answer while it goes by: tokens, and whether the engine gave up.

Only bytes are looked at, a few searches per piece, and fewer where a stream goes on as it did before: most pieces are a
token and nothing else, and the searches would be a good part of what the engine itself does for one. JSON escapes
quotation marks inside of strings, so a name in quotation marks followed by a colon is never something that the model
wrote.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

_USAGE = re.compile(rb'"(prompt_tokens|completion_tokens|input_tokens|output_tokens)"\s*:\s*(\d+)')
_TIMINGS = re.compile(rb'"(cache_n|prompt_n|prompt_ms|predicted_n|predicted_ms)"\s*:\s*([\d.]+)')
_OPENAI = re.compile(rb'"finish_reason"\s*:\s*"abort"')
_ABORTED = {
    # /v1/responses calls an aborted answer cancelled, and /v1/messages gives no reason for its end.
    "/v1/responses": re.compile(rb'"status"\s*:\s*"cancelled"'),
    "/v1/messages": re.compile(rb'(?s)"type"\s*:\s*"message(?:_delta)?".*"stop_reason"\s*:\s*null'),
}
_REASON, _GOES_ON = b'"finish_reason":', b'"finish_reason":null'
_LAST = re.compile(rb"(?m)^(?:data: ?\[DONE\]|event: ?(?:message_stop|response\.(?:completed|failed|incomplete))\r?$)")


@dataclass(frozen=True)
class Usage:
    """Tokens, and for llama.cpp the seconds that it computed; as far as the answer told."""

    prompt: int = 0
    completion: int = 0
    prefill: float = 0.0
    decode: float = 0.0


def usage_in(piece: bytes) -> Usage | None:
    if b'"usage":{' in piece or b'"usage": {' in piece:
        found = {name: int(value) for name, value in _USAGE.findall(piece)}
        prompt = found.get(b"prompt_tokens", found.get(b"input_tokens", 0))
        completion = found.get(b"completion_tokens", found.get(b"output_tokens", 0))
        return Usage(prompt, completion, *_computed(piece))
    if b'"timings":{' in piece:
        found_times = {name: float(value) for name, value in _TIMINGS.findall(piece)}
        prompt = int(found_times.get(b"prompt_n", 0) + found_times.get(b"cache_n", 0))
        return Usage(prompt, int(found_times.get(b"predicted_n", 0)), *_computed(piece))
    return None


def _computed(piece: bytes) -> tuple[float, float]:
    times = dict(_TIMINGS.findall(piece)) if b'"timings":{' in piece else {}
    return float(times.get(b"prompt_ms", 0)) / 1e3, float(times.get(b"predicted_ms", 0)) / 1e3


def aborted(piece: bytes, path: str, *, stream: bool) -> bool:
    """Whether the engine ended the answer without finishing it. vLLM sends that as a success."""
    if b'"abort"' in piece and _OPENAI.search(piece):
        return True
    pattern = _ABORTED.get(path)
    if pattern is None or (stream and path == "/v1/messages" and b"message_delta" not in piece):
        return False
    return pattern.search(piece) is not None


def is_last(piece: bytes) -> bool:
    """Whether the stream's last event is in the piece: nothing that follows matters to the client."""
    return (b"[DONE]" in piece or b"event:" in piece) and _LAST.search(piece) is not None


def tail_of(piece: bytes) -> bytes:
    """How a stream's piece ends that brings a token and tells nothing else, as vLLM writes it; empty for any other."""
    tail = piece[piece.find(_REASON) :]
    if not tail.startswith(_GOES_ON) or events_in(piece) != 1 or not piece.endswith(b"\n\n") or usage_in(piece):
        return b""
    return _the_one(tail)


def is_token(piece: bytes, tail: bytes) -> bool:
    """Whether it differs from one with that tail by its token alone. A second choice in it would come before that."""
    return piece.endswith(tail) and piece.find(_REASON) == len(piece) - len(tail)


@lru_cache(maxsize=16)
def _the_one(tail: bytes) -> bytes:
    """The same object for all streams: then it is in the processor's caches."""
    return tail


def events_in(piece: bytes) -> int:
    """Events of a stream in the piece: an empty line ends each, and JSON has none inside."""
    return piece.count(b"\n\n")
