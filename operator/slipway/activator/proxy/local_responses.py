"""Responses without a replica, so that a model list or a health check doesn't wake a model. Pure.

The same responses are given while all replicas are busy: a request that wakes no model doesn't wait for a replica
either, and is no demand.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus

from slipway.activator.http1.heads import Headers, RequestHead
from slipway.activator.proxy import access_errors, error_responses, routes
from slipway.activator.proxy.error_responses import RefusedRequestError
from slipway.activator.shared import request_line
from slipway.activator.shared.request_line import RequestLine
from slipway.activator.shared.request_rules import ANY_PAGE, RequestRules
from slipway.api.reasons import Reason, State
from slipway.contract.tasks import another_task
from slipway.observing.cause import Cause

_JSON = (b"content-type", b"application/json")
_NEVER_SERVED = ("/favicon.ico", "/robots.txt")  # not even by engines that aren't ours
_FOR_PAGES = b"DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"  # all methods that vLLM's server allows to web pages


@dataclass(frozen=True)
class LocalResponse:
    """A response of our own that is no error."""

    status: HTTPStatus
    headers: Headers
    body: bytes = b""


class AnsweredLocallyError(Exception):
    """There is no replica for the request, and this is the response to it."""

    def __init__(self, response: LocalResponse) -> None:
        super().__init__(response.status.phrase)
        self.response = response


def wakes(rules: RequestRules, head: RequestHead) -> bool:
    """Whether the request may wait for a replica, and is demand."""
    return routes.wakes(rules, request_line.of(head))


def respond(rules: RequestRules, head: RequestHead, state: State) -> LocalResponse | None:
    """None: the request waits for a replica. RefusedRequestError: it isn't served, or may not wake a replica."""
    line = request_line.of(head)
    if routes.wakes(rules, line):
        return None
    method, path = line.method, line.path
    _refuse_at_once(rules, head, line)
    if rules.is_ours and method == "OPTIONS" and routes.exists(line):
        return _preflight(rules, head)
    match routes.find(line):
        case routes.HEALTH:
            status = HTTPStatus.SERVICE_UNAVAILABLE if state is State.FAILED else HTTPStatus.OK
            return LocalResponse(status, [_JSON], _in_json({"slipway": {"state": state}}))
        case routes.MODELS:
            return _json(rules, head, {"object": "list", "data": _models(rules), "slipway": {"state": state}})
        case routes.MODEL:
            return _json(rules, head, {**_model(rules, path.rpartition("/")[2]), "slipway": {"state": state}})
        case None if rules.is_ours or path in _NEVER_SERVED:
            raise RefusedRequestError(access_errors.not_served(method, path))
        case _ if state is State.SERVING:
            raise RefusedRequestError(error_responses.busy())  # a replica could respond
        case found if found in routes.STORED:
            raise RefusedRequestError(access_errors.no_stored_response())
    raise RefusedRequestError(access_errors.wakes_no_model(method, path))


def _refuse_at_once(rules: RequestRules, head: RequestHead, line: RequestLine) -> None:
    """Raises the error that the guard would return, whichever state the model is in."""
    if not routes.fits_task(rules, line):
        why = another_task(line.method, line.path, task=rules.task, engine=rules.engine)
        raise RefusedRequestError(access_errors.wrong_task(why))
    if rules.is_ours and head.length != 0 and routes.takes_no_body(line):
        raise RefusedRequestError(access_errors.NO_BODY)


def state_word(cause: Cause | None, *, is_coming: bool, is_ready: bool = False) -> State:
    """The state that a response names. `is_coming`: a replica starts, or requests wait for one."""
    if is_ready:
        return State.SERVING
    if cause and cause.final and cause.reason not in (Reason.PAUSED, Reason.SCALING_PAUSED):
        return State.FAILED
    return State.WAKING if is_coming else State.IDLE


def _models(rules: RequestRules) -> list[dict[str, object]]:
    served, *adapters = rules.names or ("",)
    return [_described(rules, served), *({**_described(rules, each), "parent": served} for each in adapters)]


def _model(rules: RequestRules, name: str) -> dict[str, object]:
    found = next((each for each in _models(rules) if each["id"] == name), None)
    if found is None:
        raise RefusedRequestError(access_errors.no_such_model(name))
    return found


def _described(rules: RequestRules, name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": rules.created, "owned_by": "slipway"}


def _json(rules: RequestRules, head: RequestHead, said: dict[str, object]) -> LocalResponse:
    return LocalResponse(HTTPStatus.OK, [_JSON, *(_for_page(rules, head) or [])], _in_json(said))


def _in_json(said: dict[str, object]) -> bytes:
    return json.dumps(said, separators=(",", ":")).encode()


def _preflight(rules: RequestRules, head: RequestHead) -> LocalResponse:
    """The engine's response to a browser that checks whether a web page may send a request; it carries no key."""
    for_page = _for_page(rules, head)
    if for_page is None or head.get(b"access-control-request-method") not in _FOR_PAGES.split(b", "):
        raise RefusedRequestError(access_errors.not_answered("OPTIONS"))
    headers: Headers = [(b"content-type", b"text/plain"), *for_page]
    headers += [(b"access-control-allow-methods", _FOR_PAGES)]
    headers += [(b"access-control-allow-headers", head.get(b"access-control-request-headers") or b"*")]
    return LocalResponse(HTTPStatus.OK, headers)


def _for_page(rules: RequestRules, head: RequestHead) -> Headers | None:
    """The headers by which a browser allows a web page to read the response; None for one that the engine doesn't
    allow."""
    origin = head.get(b"origin")
    if origin is None:
        return None
    if ANY_PAGE in rules.web_pages:
        return [(b"access-control-allow-origin", b"*")]
    if origin.decode("latin-1") in rules.web_pages:
        return [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]
    return None
