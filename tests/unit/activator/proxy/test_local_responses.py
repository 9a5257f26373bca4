"""What the activator itself responds for a sleeping model."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from slipway.activator.http1.heads import Headers, RequestHead
from slipway.activator.proxy import access_errors
from slipway.activator.proxy.error_responses import RefusedRequestError
from slipway.activator.proxy.local_responses import LocalResponse, respond, state_word
from slipway.activator.shared.request_rules import RequestRules
from slipway.activator.tracking.rules_from_spec import rules_of
from slipway.api.reasons import Reason, State
from slipway.observing.cause import Cause
from slipway_runtime.guard import engine_errors
from slipway_runtime.guard import errors as guards

VLLM = RequestRules(engine="vllm", names=("llama", "llama-sql"), created=1_795_000_000, web_pages=("*",))
PAGE: Headers = [
    (b"origin", b"https://chat.example.com"),
    (b"access-control-request-method", b"POST"),
    (b"access-control-request-headers", b"authorization"),
]


def head(line: str, headers: Headers | None = None, *, length: int | None = 0) -> RequestHead:
    method, target = line.encode().split(b" ")
    return RequestHead(method, target, headers or [], length)


def response_to(
    line: str, rules: RequestRules = VLLM, *, headers: Headers | None = None, at: State = State.IDLE
) -> LocalResponse:
    response = respond(rules, head(line, headers), at)
    assert response
    return response


def json_of(line: str, rules: RequestRules = VLLM, *, at: State = State.IDLE) -> Any:
    return json.loads(response_to(line, rules, at=at).body)


def refused(
    line: str, rules: RequestRules = VLLM, *, headers: Headers | None = None, length: int | None = 0
) -> tuple[int, str]:
    with pytest.raises(RefusedRequestError) as raised:
        respond(rules, head(line, headers, length=length), State.IDLE)
    return raised.value.error.status, str(raised.value.error.reason)


# --- the models ------------------------------------------------------------------------------------------------------

LLAMA = {"id": "llama", "object": "model", "created": 1_795_000_000, "owned_by": "slipway"}
ADAPTER = {**LLAMA, "id": "llama-sql", "parent": "llama"}


@pytest.mark.parametrize("at", [State.IDLE, State.WAKING, State.FAILED])
def test_the_models_are_listed_in_openais_format_with_their_state(at: State) -> None:
    assert json_of("GET /v1/models", at=at) == {
        "object": "list",
        "data": [LLAMA, ADAPTER],
        "slipway": {"state": at.value},
    }


@pytest.mark.parametrize(("name", "model"), [("llama", LLAMA), ("llama-sql", ADAPTER)])
def test_each_model_is_described(name: str, model: dict[str, Any]) -> None:
    assert json_of(f"GET /v1/models/{name}") == {**model, "slipway": {"state": "Idle"}}


def test_another_model_is_not_found() -> None:
    assert refused("GET /v1/models/gpt-4") == (404, "model_not_found")


@pytest.mark.parametrize(("at", "status"), [(State.IDLE, 200), (State.WAKING, 200), (State.FAILED, 503)], ids=str)
def test_it_is_healthy_asleep_and_not_when_it_cannot_start(at: State, status: int) -> None:
    response = response_to("GET /health", at=at)
    assert (response.status, json.loads(response.body)) == (status, {"slipway": {"state": at.value}})


STATES = [
    (None, False, State.IDLE),
    (None, True, State.WAKING),
    (Cause(Reason.UNSCHEDULABLE, ""), True, State.WAKING),
    (Cause(Reason.MODEL_NOT_FOUND, "", final=True), True, State.FAILED),
    (Cause(Reason.PAUSED, "", final=True), False, State.IDLE),
    (Cause(Reason.SCALING_PAUSED, "", final=True), False, State.IDLE),
]


@pytest.mark.parametrize(("cause", "is_coming", "expected"), STATES)
def test_its_state_is_one_of_those_that_kubectl_shows(cause: Cause | None, is_coming: bool, expected: State) -> None:
    assert state_word(cause, is_coming=is_coming) is expected


# --- browsers --------------------------------------------------------------------------------------------------------


def allowed(line: str, rules: RequestRules) -> dict[bytes, bytes]:
    return {
        name: value for name, value in response_to(line, rules, headers=PAGE).headers if name.startswith(b"access-")
    }


def test_a_preflight_request_is_answered_as_vllm_does() -> None:
    assert allowed("OPTIONS /v1/chat/completions", VLLM) == {
        b"access-control-allow-origin": b"*",
        b"access-control-allow-headers": b"authorization",
        b"access-control-allow-methods": b"DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT",
    }
    assert allowed("GET /v1/models", VLLM) == {b"access-control-allow-origin": b"*"}


def rules_with(*flags: str, name: str = "vllm") -> RequestRules:
    engine = {"name": name, "extraArgs": list(flags)}
    return rules_of({"metadata": {"name": "llama"}, "spec": {"model": {}, "engine": engine}})


def test_a_page_whose_origin_is_allowed_may_send_requests() -> None:
    named = rules_with('--allowed-origins=["https://a.example","https://chat.example.com"]')
    assert allowed("OPTIONS /v1/completions", named)[b"access-control-allow-origin"] == b"https://chat.example.com"
    assert allowed("GET /v1/models", named) == {b"access-control-allow-origin": b"https://chat.example.com"}
    assert dict(response_to("GET /v1/models", named, headers=PAGE).headers)[b"vary"] == b"Origin"


OTHER_PAGES = [
    (),
    ('--allowed-origins=["https://a.example"]',),
    ('--allowed-origins=["*"]', '--allowed-origins=["https://a.example"]'),
    ('--allowed-origins=["*"]', '--allowed-methods=["GET"]'),
    ("--allowed-origins=*",),
    ("--allowed-origins=5",),
]


@pytest.mark.parametrize("flags", OTHER_PAGES, ids=str)
def test_a_page_that_vllm_does_not_allow_may_not_send_requests(flags: tuple[str, ...]) -> None:
    rules = rules_with(*flags)
    assert refused("OPTIONS /v1/completions", rules, headers=PAGE) == (405, "method_not_allowed")
    assert allowed("GET /v1/models", rules) == {}


def test_pages_have_no_response_where_llamacpp_has_none() -> None:
    llamacpp = rules_with(name="llamacpp")
    assert allowed("GET /v1/models", llamacpp) == {}
    assert refused("OPTIONS /v1/completions", llamacpp, headers=PAGE) == (405, "method_not_allowed")


@pytest.mark.parametrize(
    "headers",
    [[], PAGE[:1], PAGE[1:], [PAGE[0], (b"access-control-request-method", b"BREW")]],
    ids=["bare", "no method", "no origin", "an unknown method"],
)
def test_an_invalid_preflight_request_is_answered_as_by_a_replica(headers: Headers) -> None:
    assert refused("OPTIONS /v1/completions", headers=headers) == (405, "method_not_allowed")


@pytest.mark.parametrize("length", [1, None], ids=["with a length", "in chunks"])
@pytest.mark.parametrize(
    "line", ["GET /v1/models", "HEAD /health", "GET /v1/models/gpt-4", "GET /v1/responses/a", "OPTIONS /v1/completions"]
)
def test_an_unexpected_body_is_refused_as_by_a_replica(line: str, length: int | None) -> None:
    assert refused(line, headers=PAGE, length=length) == (413, "request_too_large")


def test_an_unserved_path_is_not_found_with_a_body_too() -> None:
    assert refused("GET /metrics", length=1) == (404, "unknown_url")


# --- requests that don't wake a model --------------------------------------------------------------------------------


def test_a_request_that_wakes_is_not_answered_here() -> None:
    assert respond(VLLM, head("POST /v1/chat/completions"), State.IDLE) is None


def test_a_spec_can_list_what_wakes_and_other_requests_are_refused_with_the_reason() -> None:
    chat_alone = replace(VLLM, wake_on=("POST /v1/chat/completions", "GET /v1/models"))
    assert respond(chat_alone, head("GET /v1/models"), State.IDLE) is None
    assert refused("POST /v1/embeddings", chat_alone) == (503, "model_asleep")
    assert refused("POST /nothing", chat_alone) == (404, "unknown_url")


OTHER_ENGINE = RequestRules(engine="sglang", names=("llama",))


def test_the_paths_of_another_engine_are_unknown_so_none_is_denied() -> None:
    assert refused("GET /get_model_info", OTHER_ENGINE) == (503, "model_asleep")
    assert refused("GET /favicon.ico", OTHER_ENGINE) == (404, "unknown_url")
    assert refused("OPTIONS /generate", OTHER_ENGINE, headers=PAGE) == (503, "model_asleep")
    assert respond(OTHER_ENGINE, head("GET /health", length=1), State.IDLE)


# --- the guard's messages --------------------------------------------------------------------------------------------

SAME = [
    (access_errors.NO_KEY, guards.NO_KEY),
    (access_errors.WRONG_KEY, guards.WRONG_KEY),
    (access_errors.not_served("GET", "/x"), guards.not_served("GET", "/x")),
    (access_errors.NO_BODY, guards.NO_BODY),
    (access_errors.not_answered("OPTIONS"), engine_errors.of_answer(405, b"", method="OPTIONS", path="/x")),
]


@pytest.mark.parametrize(("ours", "theirs"), SAME)
def test_responses_that_the_guard_has_too_use_its_messages(ours: Any, theirs: Any) -> None:
    assert (ours.status, json.loads(ours.body())) == (theirs.status, json.loads(theirs.body()))


def test_a_missing_stored_response_has_one_code() -> None:
    theirs = guards.no_such_response("resp_1")
    assert refused("GET /v1/responses/resp_1") == (theirs.status, theirs.code)
    assert refused("POST /v1/responses/resp_1/cancel") == (theirs.status, theirs.code)
