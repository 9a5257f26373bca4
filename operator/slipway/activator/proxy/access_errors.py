"""The errors of requests that are not admitted, or that wake no model. Pure.

Where the guard in the pods responds the same, its code and its message are used.
"""

from __future__ import annotations

import math
from http import HTTPStatus

from slipway.activator.proxy.error_responses import ErrorResponse
from slipway.activator.proxy.retry_after import LATER, SHORTLY

NO_KEY = ErrorResponse(
    HTTPStatus.UNAUTHORIZED,
    "missing_api_key",
    "An API key is required: send it as 'Authorization: Bearer KEY', or as 'X-Api-Key: KEY'.",
)
WRONG_KEY = ErrorResponse(HTTPStatus.UNAUTHORIZED, "invalid_api_key", "This API key is not valid here.")
NOT_FROM_HERE = ErrorResponse(
    HTTPStatus.FORBIDDEN, "not_allowed_from_here", "access.allowFrom of this model doesn't name this address."
)
NO_BODY = ErrorResponse(
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "request_too_large", "This request must not have a body; send it without one."
)
UNREADABLE = ErrorResponse(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "rules_unreadable",
    "The activator can't read this model's spec, which is newer than the activator, so it admits no requests: "
    "upgrade the activator.",
    LATER,
)


def unknown_caller() -> ErrorResponse:
    message = "access.allowFrom names pods, and the pod that sent this request can't be looked up now. Try again."
    return ErrorResponse(HTTPStatus.SERVICE_UNAVAILABLE, "caller_unknown", message, SHORTLY)


def too_many_wrong_keys(wait: float) -> ErrorResponse:
    seconds = math.ceil(wait)
    message = f"Too many invalid API keys were sent from this address. Try again in {seconds} s."
    return ErrorResponse(HTTPStatus.TOO_MANY_REQUESTS, "too_many_wrong_keys", message, seconds)


def no_keys(secret: str) -> ErrorResponse:
    message = f"No API key is valid, because the Secret {secret} of access.apiKeysSecret doesn't exist: create it."
    return ErrorResponse(HTTPStatus.SERVICE_UNAVAILABLE, "keys_missing", message, LATER)


def keys_too_large(secret: str) -> ErrorResponse:
    message = f"API keys can't be checked while no replica runs, because the Secret {secret} is larger than 256 KiB."
    return ErrorResponse(HTTPStatus.SERVICE_UNAVAILABLE, "keys_unreadable", message, LATER)


def keys_later() -> ErrorResponse:
    message = "API keys can't be checked now. Try again."
    return ErrorResponse(HTTPStatus.SERVICE_UNAVAILABLE, "keys_unreadable", message, SHORTLY)


def keys_unreadable() -> ErrorResponse:
    message = "This API key can't be checked while no replica runs, and this request doesn't wake one."
    return ErrorResponse(HTTPStatus.SERVICE_UNAVAILABLE, "keys_unreadable", message, LATER)


def not_served(method: str, path: str) -> ErrorResponse:
    return ErrorResponse(HTTPStatus.NOT_FOUND, "unknown_url", f"{method[:20]} {path[:200]} is not served here.")


def wrong_task(why: str) -> ErrorResponse:
    return ErrorResponse(HTTPStatus.NOT_FOUND, "wrong_task", why)


def no_such_model(name: str) -> ErrorResponse:
    return ErrorResponse(HTTPStatus.NOT_FOUND, "model_not_found", f"The model {name[:200]} does not exist here.")


def no_stored_response() -> ErrorResponse:
    message = "No replica runs, and a stored response is lost when the replica that stored it ends."
    return ErrorResponse(HTTPStatus.NOT_FOUND, "not_found", message)


def not_answered(method: str) -> ErrorResponse:
    return ErrorResponse(HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", f"{method} is not answered here.")


def wakes_no_model(method: str, path: str) -> ErrorResponse:
    message = f"No replica runs, and {method[:20]} {path[:200]} wakes none: scaling.hold.wakeOn lists what does."
    return ErrorResponse(HTTPStatus.SERVICE_UNAVAILABLE, "model_asleep", message)
