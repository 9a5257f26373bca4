"""What a client is told that can't be served: in the OpenAI format, with the cause and where to read on. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from http import HTTPStatus

from slipway.api.reasons import Reason
from slipway.observing.cause import Cause

_TYPES = {HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error", HTTPStatus.SERVICE_UNAVAILABLE: "service_unavailable_error"}


@dataclass(frozen=True)
class ErrorResponse:
    """A final answer of our own."""

    status: HTTPStatus
    reason: Reason | str  # or the guard's word, where the guard says the same
    message: str
    retry_after: int | None = None

    @property
    def type(self) -> str:
        """As OpenAI's clients know errors."""
        return _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")

    def body(self) -> bytes:
        error = {"type": self.type, "code": str(self.reason), "message": self.message, "param": None}
        return json.dumps({"error": error}, ensure_ascii=False).encode()


class RefusedRequestError(Exception):
    def __init__(self, refusal: ErrorResponse) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


def failed(cause: Cause, runbooks: str) -> ErrorResponse:
    """The cause is final: waiting wouldn't help."""
    return ErrorResponse(HTTPStatus.SERVICE_UNAVAILABLE, cause.reason, _told(cause, runbooks))


def full(retry_after: int) -> ErrorResponse:
    message = f"Too many requests are waiting for this model to start. Try again in {retry_after} s."
    return ErrorResponse(HTTPStatus.TOO_MANY_REQUESTS, Reason.HOLD_FULL, message, retry_after)


def crowded() -> ErrorResponse:
    """Bodies that come slowly are not waited for, so this is over soon."""
    message = "Too many requests are being sent here at a time. Try again in 1 s."
    return ErrorResponse(HTTPStatus.TOO_MANY_REQUESTS, Reason.HOLD_FULL, message, 1)


def busy() -> ErrorResponse:
    """For what doesn't wait, because it wakes nobody either."""
    message = "All replicas are busy, and this request is none that waits for one. Try again in 1 s."
    return ErrorResponse(HTTPStatus.TOO_MANY_REQUESTS, Reason.HOLD_FULL, message, 1)


def overdue(held: float, cause: Cause | None, runbooks: str, retry_after: int) -> ErrorResponse:
    """The time limit is over: with the cause, if one is known, though it may pass."""
    waited = f"No replica became free within {held:.0f} s."
    if cause:
        message = f"{waited} {_told(cause, runbooks)}"
        return ErrorResponse(HTTPStatus.SERVICE_UNAVAILABLE, cause.reason, message, retry_after)
    return ErrorResponse(HTTPStatus.GATEWAY_TIMEOUT, Reason.HOLD_TIMEOUT, waited, retry_after)


def deleted() -> ErrorResponse:
    return ErrorResponse(HTTPStatus.SERVICE_UNAVAILABLE, Reason.DELETING, "This model is being removed.")


def lost(message: str) -> ErrorResponse:
    """A replica has failed a request that can't be sent to it again."""
    return ErrorResponse(HTTPStatus.BAD_GATEWAY, Reason.REPLICA_LOST, message)


def invalid(status: HTTPStatus, message: str) -> ErrorResponse:
    return ErrorResponse(status, Reason.REQUEST_INVALID, message)


def too_large(limit: int) -> ErrorResponse:
    message = f"The request's body is larger than the {limit} bytes that are taken here."
    return ErrorResponse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, Reason.REQUEST_TOO_LARGE, message)


def too_many_connections() -> ErrorResponse:
    message = "Too many connections are open here. Close some, or try again."
    return ErrorResponse(HTTPStatus.SERVICE_UNAVAILABLE, Reason.TOO_MANY_CONNECTIONS, message, 1)


def in_short(refusal: ErrorResponse) -> ErrorResponse:
    """For those of whom we don't know whether they may read what a pod says: what went wrong, in our own words."""
    if refusal.status != HTTPStatus.SERVICE_UNAVAILABLE or not isinstance(refusal.reason, Reason):
        return refusal
    return replace(refusal, message=refusal.reason.meaning)


def _told(cause: Cause, runbooks: str) -> str:
    """The cause in the words of whoever saw it, and the page that says what to do."""
    message = cause.message or cause.reason.meaning
    return f"{message} See {runbooks.rstrip('/')}/{cause.reason.value}." if runbooks else message
