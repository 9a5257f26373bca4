"""Requests that a model isn't for: they wake nothing, and get the guard's answer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from slipway.activator.http1.heads import RequestHead
from slipway.activator.proxy.error_responses import RefusedRequestError
from slipway.activator.proxy.local_responses import respond
from slipway.activator.proxy.routes import WAKE, needs_key, wakes
from slipway.activator.shared.request_line import line
from slipway.activator.shared.request_rules import RequestRules
from slipway.api.reasons import State
from slipway_runtime.contract.tasks import Task
from slipway_runtime.guard.policy import RequestFacts, decide
from slipway_runtime.guard.routes import Routes
from slipway_runtime.guard.settings import GuardSettings

EMBEDS = RequestRules(engine="vllm", task="Embed")
ROUTES = Routes()


def guards_answer(path: str, task: str, engine: str) -> tuple[int, str, str] | None:
    facts = RequestFacts("POST", path, ROUTES.find("POST", path), owner="alice")
    refusal = decide(facts, GuardSettings(engine=engine, task=task))
    return (refusal.status, refusal.code, refusal.message) if refusal else None


def answer(path: str, rules: RequestRules) -> tuple[int, str, str] | None:
    try:
        assert respond(rules, RequestHead(b"POST", path.encode(), [], 0), State.IDLE) is None
    except RefusedRequestError as refused:
        return refused.error.status, str(refused.error.reason), refused.error.message
    return None


@pytest.mark.parametrize("engine", ["vllm", "llamacpp"])
@pytest.mark.parametrize("task", ["", *map(str, Task)])
@pytest.mark.parametrize("path", [each.removeprefix("POST ") for each in sorted(WAKE)])
def test_what_wakes_is_what_the_guard_serves_and_the_rest_gets_its_answer(engine: str, task: str, path: str) -> None:
    if engine == "llamacpp" and task in (Task.CLASSIFY, Task.TRANSCRIBE):
        return  # such a model isn't started
    rules, expected = RequestRules(engine=engine, task=task), guards_answer(path, task, engine)
    assert wakes(rules, line("POST", path)) is (expected is None)
    assert answer(path, rules) == expected


@pytest.mark.parametrize("state", [State.IDLE, State.WAKING, State.SERVING])
def test_the_answer_is_the_same_in_every_state(state: State) -> None:
    with pytest.raises(RefusedRequestError) as refused:
        respond(EMBEDS, RequestHead(b"POST", b"/v1/chat/completions", [], 2), state)
    assert refused.value.error.message == (
        "This model makes embeddings, so it doesn't serve /v1/chat/completions: send POST /v1/embeddings."
    )


def test_it_is_given_only_to_clients_with_a_key() -> None:
    assert needs_key(EMBEDS, line("POST", "/v1/chat/completions"))


def test_another_method_is_unknown_as_before() -> None:
    with pytest.raises(RefusedRequestError) as refused:
        respond(EMBEDS, RequestHead(b"GET", b"/v1/chat/completions", [], 0), State.IDLE)
    assert str(refused.value.error.reason) == "unknown_url"


@pytest.mark.parametrize("listed", ["POST /v1/*", "POST /v1/completions"])
def test_a_list_of_the_spec_wakes_nothing_for_another_task(listed: str) -> None:
    rules = replace(EMBEDS, wake_on=(listed, "POST /v1/embeddings"))
    assert wakes(rules, line("POST", "/v1/embeddings"))
    assert not wakes(rules, line("POST", "/v1/completions"))
    assert needs_key(rules, line("POST", "/v1/completions"))
    assert answer("/v1/completions", rules) == answer("/v1/completions", EMBEDS)


def test_of_other_engines_nothing_is_known() -> None:
    others = replace(EMBEDS, engine="sglang")
    for rules in (others, replace(others, wake_on=("POST /v1/*",))):
        assert wakes(rules, line("POST", "/v1/completions"))
