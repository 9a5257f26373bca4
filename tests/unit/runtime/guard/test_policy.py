"""The decision about one request."""

from dataclasses import replace

import pytest
from slipway_runtime.control import GuardMode
from slipway_runtime.guard.policy import RequestFacts, decide
from slipway_runtime.guard.routes import Routes
from slipway_runtime.guard.settings import GuardSettings

ROUTES = Routes()
OPEN, LIMITED = GuardSettings(), GuardSettings(max_in_flight=4, max_in_flight_per_key=2, max_body_bytes=100)
KEYED = GuardSettings(keys="/keys")
CHAT = RequestFacts("POST", "/v1/chat/completions", ROUTES.find("POST", "/v1/chat/completions"), owner="alice")
MODELS = RequestFacts("GET", "/v1/models", ROUTES.find("GET", "/v1/models"), owner="alice")
HEALTH = RequestFacts("GET", "/health", ROUTES.find("GET", "/health"))
UNKNOWN = RequestFacts("GET", "/metrics", None, owner="alice")
STRANGER = replace(CHAT, owner=None)


@pytest.mark.parametrize(
    ("facts", "settings"),
    [
        pytest.param(STRANGER, OPEN, id="without keys, any client"),
        pytest.param(CHAT, KEYED, id="the owner of a key"),
        pytest.param(HEALTH, KEYED, id="health, without a key"),
        pytest.param(replace(UNKNOWN, supervisor=True), KEYED, id="the supervisor, anything"),
        pytest.param(
            replace(CHAT, supervisor=True, mode=GuardMode.DRAINING), LIMITED, id="the supervisor, at any time"
        ),
        pytest.param(replace(CHAT, in_flight=3, in_flight_of_owner=1), LIMITED, id="below the limits"),
        pytest.param(replace(CHAT, in_flight=10**6, in_flight_of_owner=10**6), OPEN, id="without limits"),
        pytest.param(
            replace(MODELS, in_flight=9, in_flight_of_owner=9, wait=9, wait_for_tokens=9),
            LIMITED,
            id="a request that is not work",
        ),
        pytest.param(replace(CHAT, content_length=100), LIMITED, id="a body of exactly the allowed size"),
        pytest.param(replace(UNKNOWN, preflight=True, owner=None), KEYED, id="a preflight request of a browser"),
    ],
)
def test_is_admitted(facts: RequestFacts, settings: GuardSettings) -> None:
    assert decide(facts, settings) is None


@pytest.mark.parametrize(
    ("facts", "settings", "status", "code"),
    [
        pytest.param(UNKNOWN, OPEN, 404, "unknown_url", id="a path that isn't served"),
        pytest.param(STRANGER, KEYED, 401, "missing_api_key", id="no key"),
        pytest.param(replace(STRANGER, key_shown=True), KEYED, 401, "invalid_api_key", id="an unknown key"),
        pytest.param(
            replace(MODELS, owner=None), KEYED, 401, "missing_api_key", id="no key for a request that is not work"
        ),
        pytest.param(replace(CHAT, mode=GuardMode.DRAINING), OPEN, 503, "draining", id="in a drain"),
        pytest.param(replace(CHAT, mode=GuardMode.ENDING), OPEN, 503, "draining", id="at the end of a drain"),
        pytest.param(replace(HEALTH, mode=GuardMode.DRAINING), OPEN, 503, "draining", id="health in a drain"),
        pytest.param(replace(CHAT, content_length=101), LIMITED, 413, "request_too_large", id="a large body"),
        pytest.param(
            replace(CHAT, in_flight_of_owner=2), LIMITED, 429, "too_many_in_flight", id="too many with one key"
        ),
        pytest.param(replace(CHAT, wait=1.2), OPEN, 429, "rate_limit_exceeded", id="too fast"),
        pytest.param(replace(CHAT, wait_for_tokens=1.2), OPEN, 429, "token_limit_exceeded", id="no tokens left"),
        pytest.param(replace(CHAT, in_flight=4), LIMITED, 503, "overloaded", id="a full queue"),
    ],
)
def test_is_refused(facts: RequestFacts, settings: GuardSettings, status: int, code: str) -> None:
    refusal = decide(facts, settings)
    assert refusal
    assert (refusal.status, refusal.code) == (status, code)


def test_a_client_without_a_key_does_not_learn_that_the_replica_drains() -> None:
    refusal = decide(replace(STRANGER, mode=GuardMode.DRAINING), KEYED)
    assert refusal
    assert refusal.status == 401


def test_in_a_drain_the_supervisor_decides_when_to_retry() -> None:
    refusal = decide(replace(CHAT, mode=GuardMode.DRAINING, retry_after=17), OPEN)
    assert refusal
    assert (refusal.retry_after, refusal.headers()["retry-after"]) == (17, "17")


def test_retry_after_is_in_full_seconds() -> None:
    refusal = decide(replace(CHAT, wait=1.2), OPEN)
    assert refusal
    assert refusal.headers()["retry-after"] == "2"


def test_a_retry_is_not_advised_where_it_changes_nothing() -> None:
    refusal = decide(STRANGER, KEYED)
    assert refusal
    assert "retry-after" not in refusal.headers()
