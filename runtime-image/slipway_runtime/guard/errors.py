"""What a client is told that isn't served: in the format of the OpenAI API, with the time to try again."""

import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Refusal:
    status: int
    code: str
    message: str
    retry_after: int = 0
    """Seconds; 0 where trying again would change nothing."""

    def body(self) -> bytes:
        return json.dumps({"error": self._error()}, separators=(",", ":")).encode()

    def event(self) -> bytes:
        """As the last event of a stream that has begun."""
        return b"data: " + self.body() + b"\n\n"

    def headers(self) -> dict[str, str]:
        headers = {"content-type": "application/json", "content-length": str(len(self.body()))}
        if self.retry_after:
            headers["retry-after"] = str(self.retry_after)
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        if self.status in (413, 503):  # a body that nobody reads follows, or the engine is about to end
            headers["connection"] = "close"
        return headers

    def _error(self) -> dict[str, str | None]:
        return {
            "message": self.message,
            "type": _TYPES.get(self.status, "invalid_request_error"),
            "param": None,
            "code": self.code,
        }


_TYPES = {
    401: "invalid_request_error",
    404: "invalid_request_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
    502: "server_error",
    503: "service_unavailable_error",
}


def not_served(method: str, path: str) -> Refusal:
    return Refusal(404, "unknown_url", f"{method[:20]} {path[:200]} is not served here.")


NO_KEY = Refusal(
    401, "missing_api_key", "An API key is needed: send it as 'Authorization: Bearer KEY', or as 'X-Api-Key: KEY'."
)
WRONG_KEY = Refusal(401, "invalid_api_key", "This API key is not valid here.")
TOO_MANY_AT_ONCE = Refusal(
    429, "too_many_in_flight", "This key has as many requests in flight as it may have; wait for an answer.", 1
)


def too_large(limit: int) -> Refusal:
    return Refusal(413, "request_too_large", f"The request's body is larger than {limit} bytes.")


def too_fast(wait: int) -> Refusal:
    return Refusal(429, "rate_limit_exceeded", f"This key sends requests faster than it may; wait {wait} s.", wait)


def too_many_tokens(limit: int, wait: int) -> Refusal:
    told = f"This key has used up its {limit} tokens per minute, of prompts and answers; wait {wait} s."
    return Refusal(429, "token_limit_exceeded", told, wait)


def overloaded(retry_after: int) -> Refusal:
    return Refusal(503, "overloaded", "The model has as many requests as it takes; try again.", retry_after)


def draining(retry_after: int) -> Refusal:
    return Refusal(503, "draining", "This replica is being stopped; try again, another one will answer.", retry_after)


def cut(retry_after: int) -> Refusal:
    return Refusal(503, "cut_off", "This replica was stopped before the answer was complete; try again.", retry_after)


def aborted(retry_after: int) -> Refusal:
    return Refusal(503, "engine_aborted", "The engine gave up before the answer was complete; try again.", retry_after)


def engine_failed(retry_after: int) -> Refusal:
    return Refusal(502, "engine_failed", "The engine ended the connection before it answered; try again.", retry_after)
