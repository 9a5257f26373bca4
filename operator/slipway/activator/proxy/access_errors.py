"""Why a request is not let in, or wakes nobody. Pure. Where the guard in the pods says the same, its code is used."""

from __future__ import annotations

import math
from http import HTTPStatus

from slipway.activator.proxy.error_responses import ErrorResponse

NO_KEY = ErrorResponse(
    HTTPStatus.UNAUTHORIZED,
    "missing_api_key",
    "An API key is needed: send it as 'Authorization: Bearer KEY', or as 'X-Api-Key: KEY'.",
)
WRONG_KEY = ErrorResponse(HTTPStatus.UNAUTHORIZED, "invalid_api_key", "This API key is not valid here.")
NOT_FROM_HERE = ErrorResponse(
    HTTPStatus.FORBIDDEN, "not_allowed_from_here", "access.allowFrom of this model doesn't name this address."
)
NO_BODY = ErrorResponse(
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "request_too_large", "This request takes no body; send it without one."
)
UNREADABLE = ErrorResponse(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "rules_unreadable",
    "Who may ask this model can't be read here: the activator is older than the model's spec.",
    10,
)


def unknown_caller() -> ErrorResponse:
    message = "Which pod asks can't be told now, and access.allowFrom names pods. Try again."
    return ErrorResponse(HTTPStatus.SERVICE_UNAVAILABLE, "caller_unknown", message, 1)


def too_many_wrong_keys(wait: float) -> ErrorResponse:
    seconds = math.ceil(wait)
    message = f"Too many keys that aren't valid came from this address; wait {seconds} s."
    return ErrorResponse(HTTPStatus.TOO_MANY_REQUESTS, "too_many_wrong_keys", message, seconds)


def no_keys(secret: str) -> ErrorResponse:
    message = f"No key is valid, because the Secret {secret} of access.apiKeysSecret isn't there."
    return ErrorResponse(HTTPStatus.SERVICE_UNAVAILABLE, "keys_missing", message, 10)


def keys_too_large(secret: str) -> ErrorResponse:
    message = f"API keys can't be checked while no replica runs, because the Secret {secret} is larger than 256 KiB."
    return ErrorResponse(HTTPStatus.SERVICE_UNAVAILABLE, "keys_unreadable", message, 10)


def keys_later() -> ErrorResponse:
    message = "API keys can't be checked now. Try again."
    return ErrorResponse(HTTPStatus.SERVICE_UNAVAILABLE, "keys_unreadable", message, 1)


def keys_untold() -> ErrorResponse:
    message = "This API key can't be checked while no replica runs, and this request doesn't wake one."
    return ErrorResponse(HTTPStatus.SERVICE_UNAVAILABLE, "keys_unreadable", message, 10)


def not_served(method: str, path: str) -> ErrorResponse:
    return ErrorResponse(HTTPStatus.NOT_FOUND, "unknown_url", f"{method[:20]} {path[:200]} is not served here.")


def no_such_model(name: str) -> ErrorResponse:
    return ErrorResponse(HTTPStatus.NOT_FOUND, "model_not_found", f"The model {name[:200]} does not exist here.")


def forgotten() -> ErrorResponse:
    message = "No replica runs, and answers are stored only as long as the replica that gave them."
    return ErrorResponse(HTTPStatus.NOT_FOUND, "not_found", message)


def not_answered(method: str) -> ErrorResponse:
    return ErrorResponse(HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", f"{method} is not answered here.")


def wakes_nobody(method: str, path: str) -> ErrorResponse:
    message = f"No replica runs, and {method[:20]} {path[:200]} wakes none: scaling.hold.wakeOn says what does."
    return ErrorResponse(HTTPStatus.SERVICE_UNAVAILABLE, "model_asleep", message)
