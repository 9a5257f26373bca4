"""What is served, and what wakes a model: the activator and the guard have one table, in two distributions."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slipway.activator.http1.heads import RequestHead
from slipway.activator.proxy.routes import HEALTH, SERVED, WAKE, exists, find, needs_key, takes_no_body, wakes
from slipway.activator.shared.request_line import MOST_PARTS, RequestLine, decoded, line, of, pattern
from slipway.activator.shared.request_rules import RequestRules
from slipway.api.scaling import WAKING_REQUEST
from slipway_runtime.guard import routes

OURS, THEIRS = RequestRules(engine="llamacpp"), RequestRules(engine="sglang")


def test_the_guards_table_equals_ours() -> None:
    assert {f"{route.method} {route.path}" for route in routes.SERVED} == SERVED


def test_a_body_is_allowed_where_the_guard_allows_one() -> None:
    without_body = {f"{route.method} {route.path}" for route in routes.SERVED if route.takes is routes.BodyKind.NOTHING}
    assert {each for each in SERVED if takes_no_body(line(*each.replace("*", "a").split(" ")))} == without_body


def test_paths_that_the_guard_serves_without_a_key_need_none_here() -> None:
    open_ones = {f"{route.method} {route.path}" for route in routes.SERVED if route.kind is routes.RouteKind.OPEN}
    assert open_ones == {HEALTH}


PATHS = (
    "/health",
    "/v1/models",
    "/v1/models/",
    "/v1/models/a",
    "/v1/models/a/b",
    "/v1/models/..",
    "/v1/models/*",
    "/v1/responses/a/cancel",
    "/v1//responses",
    "/V1/models",
    "/",
    "",
    "*",
    "/v1/chat/completions",
)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "OPTIONS", "get"])
def test_a_path_is_found_where_the_guard_finds_it(method: str, path: str) -> None:
    guard = routes.Routes()
    guard_route = guard.find(method, path)
    assert find(line(method, path)) == (f"{guard_route.method} {guard_route.path}" if guard_route else None)
    assert exists(line(method, path)) == guard.exists(path)


def test_every_request_that_the_engine_computes_wakes_it_and_each_such_route_is_served() -> None:
    assert (
        {f"{each.method} {each.path}" for each in routes.SERVED if each.kind is routes.RouteKind.WORK}
        <= WAKE
        <= set(SERVED)
    )


def test_a_path_is_decoded_once_and_has_no_query() -> None:
    assert request_line(b"/v1/%63hat?a=/b").path == "/v1/chat"
    assert request_line(b"/v1/%2563hat").path == "/v1/%63hat"
    assert request_line(b"*").path == "*"


def request_line(target: bytes) -> RequestLine:
    return of(RequestHead(b"GET", target, [], 0))


@given(st.text(alphabet="%=aF3c/.+~", max_size=40))
def test_a_path_is_decoded_as_urllib_decodes_it(path: str) -> None:
    assert decoded(path.encode()) == unquote(path)


def test_a_repeated_path_is_not_parsed_again() -> None:
    assert request_line(b"/v1/models/a?b").parts is request_line(b"/v1/models/a?c").parts


def test_a_path_may_have_more_segments_than_are_distinguished() -> None:
    long = line("GET", "/a" * 1000)
    assert len(long.parts) == MOST_PARTS
    assert pattern("GET /*", may_be_open=True).fits(long)
    assert not pattern("GET " + "/a" * (MOST_PARTS - 1)).fits(long)
    assert pattern("GET " + "/a" * (MOST_PARTS - 1)).fits(line("GET", "/a" * (MOST_PARTS - 1)))


def test_no_pattern_of_a_spec_has_more_segments_than_are_distinguished() -> None:
    longest = "PUT " + "/*" * 126
    assert len(longest) == 256
    assert re.match(WAKING_REQUEST, longest)
    assert len(pattern(longest).parts) < MOST_PARTS


@pytest.mark.parametrize(("method", "expected"), [("POST", True), ("GET", False), ("PUT", False), ("OPTIONS", False)])
def test_of_an_engine_that_is_not_ours_every_post_wakes(method: str, expected: bool) -> None:
    assert wakes(THEIRS, line(method, "/v2/models/any/infer")) is expected


WAKE_ON = [
    (("POST /v1/chat/completions",), "POST", "/v1/chat/completions", True),
    (("POST /v1/chat/completions",), "POST", "/v1/completions", False),
    (("POST /v1/chat/completions",), "GET", "/v1/chat/completions", False),
    (("GET /my/path",), "GET", "/my/path", True),
    (("GET /my/path",), "HEAD", "/my/path", False),
    (("POST /v1/*",), "POST", "/v1/chat/completions", True),
    (("POST /v1/*",), "POST", "/v1/embeddings", True),
    (("POST /v1/*",), "POST", "/v1/", False),
    (("POST /v1/*",), "POST", "/v1", False),
    (("POST /v1/*",), "POST", "/v1/../admin", False),
    (("POST /v1/*",), "POST", "/v2/rerank", False),
    (("POST /*/rerank",), "POST", "/v2/rerank", True),
    (("POST /*/rerank",), "POST", "/v2/a/rerank", False),
    (("POST /",), "POST", "/", True),
    (("POST /*",), "POST", "/", False),
]


@pytest.mark.parametrize(("wake_on", "method", "path", "expected"), WAKE_ON)
@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_a_list_in_the_spec_alone_determines_what_wakes(
    wake_on: tuple[str, ...], method: str, path: str, expected: bool, engine: str
) -> None:
    assert wakes(RequestRules(engine=engine, wake_on=wake_on), line(method, path)) is expected


KEYED = [
    (OURS, "GET", "/health", False),
    (OURS, "HEAD", "/health", False),
    (OURS, "POST", "/health", False),  # isn't served
    (OURS, "OPTIONS", "/v1/completions", False),
    (OURS, "GET", "/v1/models", True),
    (OURS, "POST", "/v1/completions", True),
    (OURS, "GET", "/metrics", False),
    (RequestRules(wake_on=("GET /metrics",)), "GET", "/metrics", True),
    (RequestRules(wake_on=("GET /health",)), "GET", "/health", True),  # it wakes
    (RequestRules(wake_on=("GET /*",)), "GET", "/health", True),
    (RequestRules(wake_on=("GET /*",)), "HEAD", "/health", False),
    (RequestRules(wake_on=("OPTIONS /*",)), "OPTIONS", "/v1/models", True),
    (THEIRS, "GET", "/anything", True),
]


@pytest.mark.parametrize(("rules", "method", "path", "needed"), KEYED)
def test_a_key_is_required_where_there_is_something_to_protect(
    rules: RequestRules, method: str, path: str, needed: bool
) -> None:
    assert needs_key(rules, line(method, path)) is needed
