"""Turns the errors of engines into one form: that of the OpenAI API, with a code that is a word.

vLLM has a number for a code, and another form for each of its APIs; llama.cpp has forms of its own, and sometimes calls
a client's mistake an internal error. The engine's sentence is kept and the rest is replaced, so that a client has to
know one form of errors, whichever engine serves it.
"""

from __future__ import annotations

import json
import re
from typing import Any

from slipway_runtime.guard.errors import ErrorResponse, type_of

LARGEST = 64 << 10  # bytes of an engine's error that are read
LONGEST_MESSAGE = 4000  # characters

_CODES = {
    400: "invalid_request",
    401: "invalid_api_key",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    409: "conflict",
    413: "request_too_large",
    415: "unsupported_media_type",
    429: "rate_limit_exceeded",
    500: "engine_error",
    502: "engine_failed",
    503: "engine_unavailable",  # not one of the guard's codes, which promise that no work was done for the request
    504: "engine_timeout",
}
# An engine's sentence may quote a client. So it counts only with the status that the engine has for it, and from its
# first word on, where no client's words can be.
_SAID = (
    # llama.cpp has 500 for these
    (
        500,
        re.compile(
            r"Failed to parse (messages|tools)|\w+ input is not supported|\[json\.exception\.(parse|type)_error\.\d+\]"
        ),
        400,
    ),
    (500, re.compile(r"input \(\d+ tokens\) is (too large to process|larger than the max context size)"), 400),
    # and 400 for a response that it doesn't store and so can't find
    (400, re.compile(r"llama\.cpp does not support 'previous_response_id'"), 404),
)
_TOO_LONG = re.compile(
    r"This model's maximum context length is"
    r"|\w+=\d+ cannot be greater than max_\w+ ?= ?\d+"
    r"|\w+ \(\d+\) must be less than max_model_len"
    r"|Input length \(\d+\) exceeds model's maximum context length"
    r"|The \w+ prompt \(length \d+\) [a-z0-9 ()]{,80}longer than the maximum model length"
    r"|The engine prompt length \d+ exceeds the max_model_len"
    r"|the prompt has \d+ tokens and [a-z0-9 ,]{,80}max_model_len"
    r"|truncate_prompt_tokens value is greater than max_model_len"
    r"|input \(\d+ tokens\) is (too large to process|larger than the max context size)"
    r"|(request \(\d+ tokens\)|the request) exceeds the available context size"
)
_NO_SUCH_MODEL = re.compile(r"(?s)The model `.*` does not exist")


def of_answer(status: int, body: bytes, *, method: str, path: str) -> ErrorResponse:
    """Returns the response that replaces an engine's error."""
    error = _error_in(body)
    message = _message(error)
    if status == 501 or (status == 404 and message in ("Not Found", "File Not Found")):
        # llama.cpp and vLLM say so of an API that a model of this kind doesn't have.
        return ErrorResponse(404, "not_found", f"{method} {path} is not served with this model.")
    if method == "OPTIONS":
        return ErrorResponse(405, "method_not_allowed", f"{method} is not answered here.")
    if path == "/detokenize" and "_M_range_check" in message:  # llama.cpp looks up a token without checking its range
        return ErrorResponse(400, _code(400, ""), "'tokens' contains one that this model doesn't have.", param="tokens")
    status = next((meant for at, said, meant in _SAID if status == at and said.match(message)), status)
    status = 400 if status == 422 else status
    retry_after = 1 if status in (429, 503) else 0
    told = message or f"The engine answered with status {status} and gave no reason."
    return ErrorResponse(status, _code(status, message), told, retry_after, param=_param(error))


def of_event(data: bytes) -> bytes:
    """Returns the data of the event that replaces an engine's error in a stream."""
    whole = _parsed(data)
    error = _error_in(data)
    status = error.get("code") if type(error.get("code")) is int else 500
    message = _message(error) or "The engine failed and gave no reason."
    code = _code(int(status or 500), message)
    told = {"message": message, "type": type_of(int(status or 500)), "param": _param(error), "code": code}
    kept = {"type": "error"} if isinstance(whole, dict) and whole.get("type") == "error" else {}
    return json.dumps({**kept, "error": told}, separators=(",", ":")).encode()


def _code(status: int, message: str) -> str:
    if status == 400 and _TOO_LONG.match(message):
        return "context_length_exceeded"
    if status == 404 and _NO_SUCH_MODEL.match(message):
        return "model_not_found"
    return _CODES.get(status, "invalid_request" if status < 500 else "engine_error")


def _parsed(body: bytes) -> object:
    try:
        return json.loads(body) if len(body) <= LARGEST else None
    except (ValueError, RecursionError):
        return None


def _error_in(body: bytes) -> dict[str, Any]:
    """Returns the error object, whichever form it has."""
    whole = _parsed(body)
    if not isinstance(whole, dict):
        return {}
    error = whole.get("error", whole)
    return error if isinstance(error, dict) else {"message": error}


def _message(error: dict[str, Any]) -> str:
    said = error.get("message", error.get("detail", ""))
    text = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
    return text[:LONGEST_MESSAGE].encode(errors="replace").decode()


def _param(error: dict[str, Any]) -> str | None:
    param = error.get("param")
    return param[:200].encode(errors="replace").decode() if isinstance(param, str) else None
