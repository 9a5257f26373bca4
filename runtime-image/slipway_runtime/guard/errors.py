"""The error responses of the guard: in the format of the OpenAI API, with the time after which to try again."""

import json
from dataclasses import dataclass, replace

from slipway_runtime.contract.runbooks import Runbooks

BYTES_OF_A_BYTE, BYTES_OF_A_VALUE = 5, 96
"""Memory that engines take at most for each byte and value of a body, as `tests/engines/test_llamacpp_memory.py`
measures."""


@dataclass(frozen=True)
class ErrorResponse:
    status: int
    code: str
    message: str
    retry_after: int = 0
    """Seconds; 0 where trying again would change nothing."""
    param: str | None = None
    """The member of the request's body that is wrong."""

    def linked(self, runbooks: Runbooks) -> "ErrorResponse":
        """Returns it with a link to the runbook of its code."""
        return replace(self, message=runbooks.linked(self.message, self.code))

    def body(self) -> bytes:
        return json.dumps({"error": self._error()}, separators=(",", ":")).encode()

    def event(self) -> bytes:
        """Returns it as the last event of a stream that has started."""
        return b"data: " + self.body() + b"\n\n"

    def headers(self) -> dict[str, str]:
        headers = {"content-type": "application/json", "content-length": str(len(self.body()))}
        if self.retry_after:
            headers["retry-after"] = str(self.retry_after)
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        if self.status in _CLOSING or self.code == WRONG_KEYS:
            headers["connection"] = "close"
        return headers

    def _error(self) -> dict[str, str | None]:
        return {"message": self.message, "type": type_of(self.status), "param": self.param, "code": self.code}


WRONG_KEYS = "too_many_wrong_keys"
_CLOSING = (401, 408, 413, 503)
"""Statuses after which the connection closes: the rest of a body may follow unread, or the engine is about to end."""


def type_of(status: int) -> str:
    special = {429: "rate_limit_error", 503: "service_unavailable_error"}
    return special.get(status, "invalid_request_error" if status < 500 else "server_error")


def not_served(method: str, path: str) -> ErrorResponse:
    return ErrorResponse(404, "unknown_url", f"{method[:20]} {path[:200]} is not served here.")


def wrong_task(why: str) -> ErrorResponse:
    return ErrorResponse(404, "wrong_task", why)


NO_KEY = ErrorResponse(
    401, "missing_api_key", "An API key is required: send it as 'Authorization: Bearer KEY', or as 'X-Api-Key: KEY'."
)
WRONG_KEY = ErrorResponse(401, "invalid_api_key", "This API key is not valid here.")
TOO_MANY_AT_ONCE = ErrorResponse(
    429, "too_many_in_flight", "This key has as many requests in flight as it may have; wait for a response.", 1
)


NO_BODY = ErrorResponse(413, "request_too_large", "This request must not have a body; send it without one.")
TOO_SLOW = ErrorResponse(
    408, "request_timeout", "The request's body arrives too slowly; send it faster, or in a smaller request."
)
BODIES_OF_KEY = ErrorResponse(
    429,
    "too_many_in_flight",
    "The bodies of this key's requests in flight take as much memory as they may; wait for a response.",
    1,
)
NO_JSON = ErrorResponse(
    415, "unsupported_media_type", "The body must be JSON; send it with the header 'Content-Type: application/json'."
)
NO_UTF8 = ErrorResponse(400, "invalid_request", "The body is not JSON in UTF-8; send it in that encoding.")
TOO_DEEP = ErrorResponse(400, "invalid_request", "The body's values are nested too deeply; send a flatter one.")
MODEL_NO_STRING = ErrorResponse(
    400, "invalid_request", "'model' is not a string; name the model, or leave it out.", 0, "model"
)
OWN_ID = ErrorResponse(
    400,
    "invalid_request",
    "'request_id' can't be chosen for a response; leave it out and use the id in the response.",
    0,
    "request_id",
)


BROKEN = ErrorResponse(500, "engine_error", "The engine failed on this request; its log says why.")


def no_such_response(name: str) -> ErrorResponse:
    """The same whether the response doesn't exist or belongs to another key."""
    return ErrorResponse(404, "not_found", f"Response with id '{name[:200]}' not found.", 0, "response_id")


def no_such_model(name: str, served: tuple[str, ...]) -> ErrorResponse:
    told = f"The model '{name[:200]}' is not served here; name {' or '.join(repr(each) for each in served)}."
    return ErrorResponse(404, "model_not_found", told, 0, "model")


def out_of_range(name: str, value: str, wanted: str) -> ErrorResponse:
    return ErrorResponse(400, "invalid_request", f"'{name}' is {value[:40]}; it has to be {wanted}.", 0, name)


def too_long_a_number(name: str) -> ErrorResponse:
    told = f"'{name}' is a number of more than 32 characters; write it shorter."
    return ErrorResponse(400, "invalid_request", told, 0, name)


def not_for_clients(name: str) -> ErrorResponse:
    return ErrorResponse(400, "invalid_request", f"'{name}' can't be chosen by requests here; leave it out.", 0, name)


def no_tools(why: str) -> ErrorResponse:
    return ErrorResponse(400, "tools_not_supported", f"{why} Send the request without 'tools'.", 0, "tools")


def too_much(name: str, what: str) -> ErrorResponse:
    return ErrorResponse(400, "invalid_request", f"'{name}' has {what}; send less.", 0, name)


def too_many_answers(prompts: int, answers: int, most: int) -> ErrorResponse:
    name, asked = ("prompt", f"has {prompts} prompts") if prompts > 1 else ("n", f"is {answers}")
    times = f", and 'n' is {answers}" if prompts > 1 and answers > 1 else ""
    told = f"'{name}' {asked}{times}; this model computes at most {most} answers at a time: send more requests."
    return ErrorResponse(400, "invalid_request", told, 0, name)


def too_large(limit: int) -> ErrorResponse:
    return ErrorResponse(413, "request_too_large", f"The request's body is larger than {limit} bytes.")


def takes_too_much(limit: int) -> ErrorResponse:
    told = f"The request's body takes more than {limit} bytes of memory, with {BYTES_OF_A_BYTE} for each byte and "
    told += f"{BYTES_OF_A_VALUE} for each name, number, string, list and object in it; send less in one request."
    return ErrorResponse(413, "request_too_large", told)


def too_many_items(most: int) -> ErrorResponse:
    told = f"The request has more than {most} messages, parts, tools and strings; send fewer in one request."
    return ErrorResponse(413, "request_too_large", told)


def too_fast(wait: int) -> ErrorResponse:
    return ErrorResponse(
        429, "rate_limit_exceeded", f"This key sends requests faster than it may; wait {wait} s.", wait
    )


def too_many_wrong_keys(wait: int) -> ErrorResponse:
    told = f"Too many keys that aren't valid came from this address; wait {wait} s."
    return ErrorResponse(429, WRONG_KEYS, told, wait)


def too_many_tokens(limit: int, wait: int) -> ErrorResponse:
    told = f"This key has used up its {limit} tokens per minute, of prompts and answers; wait {wait} s."
    return ErrorResponse(429, "token_limit_exceeded", told, wait)


def overloaded(retry_after: int) -> ErrorResponse:
    return ErrorResponse(503, "overloaded", "The model has as many requests as it accepts; try again.", retry_after)


def draining(retry_after: int) -> ErrorResponse:
    return ErrorResponse(503, "draining", "This replica is stopping; try again, another one will answer.", retry_after)


def cut(retry_after: int) -> ErrorResponse:
    return ErrorResponse(
        503, "cut_off", "This replica was stopped before the response was complete; try again.", retry_after
    )


def aborted(retry_after: int) -> ErrorResponse:
    return ErrorResponse(
        503, "engine_aborted", "The engine gave up before the response was complete; try again.", retry_after
    )


def engine_failed(retry_after: int) -> ErrorResponse:
    return ErrorResponse(
        502, "engine_failed", "The engine closed the connection before it answered; try again.", retry_after
    )
