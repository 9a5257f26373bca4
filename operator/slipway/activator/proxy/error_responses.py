"""The errors that a client gets: in the OpenAI format, with the cause and a link to the runbook. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from http import HTTPStatus

from slipway.activator.proxy.retry_after import SHORTLY
from slipway.api.reasons import Reason
from slipway.contract.runbooks import NO_RUNBOOKS, Runbooks
from slipway.observing.cause import Cause

BUDGET_SPENT = "budget_spent"
_TYPES = {HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error", HTTPStatus.SERVICE_UNAVAILABLE: "service_unavailable_error"}


@dataclass(frozen=True)
class ErrorResponse:
    """A final response of our own."""

    status: HTTPStatus
    reason: Reason | str  # or the guard's code, where the guard responds the same
    message: str
    retry_after: int | None = None

    @property
    def type(self) -> str:
        """By which OpenAI's clients tell errors apart."""
        return _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")

    def body(self, runbooks: Runbooks = NO_RUNBOOKS) -> bytes:
        code = str(self.reason)
        error = {"type": self.type, "code": code, "message": runbooks.linked(self.message, code), "param": None}
        return json.dumps({"error": error}, ensure_ascii=False).encode()


class RefusedRequestError(Exception):
    """The request gets this error, and nothing more is done for it."""

    def __init__(self, error: ErrorResponse) -> None:
        super().__init__(error.message)
        self.error = error


def failed(cause: Cause) -> ErrorResponse:
    """The cause is final: waiting wouldn't help."""
    return ErrorResponse(HTTPStatus.SERVICE_UNAVAILABLE, cause.reason, _explained(cause))


def hold_full(retry_after: int) -> ErrorResponse:
    message = f"Too many requests are waiting for this model to start. Try again in {retry_after} s."
    return ErrorResponse(HTTPStatus.TOO_MANY_REQUESTS, Reason.HOLD_FULL, message, retry_after)


def too_many_arriving() -> ErrorResponse:
    """This passes soon: bodies that arrive slowly are not waited for."""
    message = f"Too many requests are being sent to the activator at the same time. Try again in {SHORTLY} s."
    return ErrorResponse(HTTPStatus.TOO_MANY_REQUESTS, Reason.HOLD_FULL, message, SHORTLY)


def busy() -> ErrorResponse:
    """For a request that wakes no model, and so doesn't wait either."""
    message = f"All replicas are busy, and this kind of request doesn't wait for one. Try again in {SHORTLY} s."
    return ErrorResponse(HTTPStatus.TOO_MANY_REQUESTS, Reason.HOLD_FULL, message, SHORTLY)


def overdue(held: float, cause: Cause | None, retry_after: int) -> ErrorResponse:
    """The time limit is over: with the cause, if one is known, though it may pass."""
    waited = f"No replica became free within {held:.0f} s."
    if cause:
        message = f"{waited} {_explained(cause)}"
        return ErrorResponse(HTTPStatus.SERVICE_UNAVAILABLE, cause.reason, message, retry_after)
    return ErrorResponse(HTTPStatus.GATEWAY_TIMEOUT, Reason.HOLD_TIMEOUT, waited, retry_after)


def budget_spent(until: datetime, retry_after: int) -> ErrorResponse:
    """Amounts are no business of clients."""
    message = f"The budget of this model is spent until {until:%Y-%m-%d %H:%M:%S} UTC. Send the request again then."
    return ErrorResponse(HTTPStatus.TOO_MANY_REQUESTS, BUDGET_SPENT, message, retry_after)


def deleted() -> ErrorResponse:
    return ErrorResponse(HTTPStatus.SERVICE_UNAVAILABLE, Reason.DELETING, "This model is being deleted.")


def lost(message: str) -> ErrorResponse:
    """A replica failed a request that can't be sent again."""
    return ErrorResponse(HTTPStatus.BAD_GATEWAY, Reason.REPLICA_LOST, message)


def invalid(status: HTTPStatus, message: str) -> ErrorResponse:
    return ErrorResponse(status, Reason.REQUEST_INVALID, message)


def too_large(limit: int) -> ErrorResponse:
    message = f"The request's body is larger than {limit} bytes, the most that is accepted: send a smaller one."
    return ErrorResponse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, Reason.REQUEST_TOO_LARGE, message)


def too_many_connections() -> ErrorResponse:
    message = "Too many connections to the activator are open. Close some, or try again."
    return ErrorResponse(HTTPStatus.SERVICE_UNAVAILABLE, Reason.TOO_MANY_CONNECTIONS, message, SHORTLY)


def in_short(error: ErrorResponse) -> ErrorResponse:
    """For a client that may not be allowed to read what a pod reports: the meaning of the reason, in our own words."""
    if error.status != HTTPStatus.SERVICE_UNAVAILABLE or not isinstance(error.reason, Reason):
        return error
    return replace(error, message=error.reason.meaning)


def _explained(cause: Cause) -> str:
    """The cause as it was observed."""
    return cause.message or cause.reason.meaning
