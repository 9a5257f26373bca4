"""The spans of requests: what they contain, what they never contain, and how the engine's spans nest in them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from slipway_runtime.guard.answers import Usage
from slipway_runtime.guard.asgi import Guard
from slipway_runtime.guard.exchange import Receive, Scope, Send
from slipway_runtime.guard.routes import RouteKind
from slipway_runtime.guard.tracing import spans_of, stages
from slipway_runtime.guard.visit import Visit
from slipway_runtime.tracing.context import trace_of
from support.fakes.otlp_collector import OtlpCollector, otlp_collector
from support.ports import free_port
from support.programs.guard import CHAT, KEY, GuardHarness, answering, ask, guarding, keys_in, streaming

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, NOT_SAMPLED = ("traceparent", f"00-{TRACE}-{SPAN}-01"), ("traceparent", f"00-{TRACE}-{SPAN}-00")
OFFSET = 1_763_700_000_000_000_000


def visit(**fields: Any) -> Visit:
    """A request that took from second 10 to second 20."""
    visit = Visit(
        method="POST",
        path=CHAT,
        kind=RouteKind.WORK,
        owner="alice",
        request_id="req-1",
        trace=trace_of(f"00-{TRACE}-{SPAN}-01"),
        started=10.0,
    )
    for name, value in {"ended": 20.0, "status": 200, **fields}.items():
        setattr(visit, name, value)
    return visit


# --- the span of a request -------------------------------------------------------------------------------------------


def test_the_span_of_a_stream_shows_its_owner_its_cost_and_its_times() -> None:
    usage = Usage(prompt=7, completion=3)
    [span] = spans_of(visit(stream=True, first=10.5, last=19.0, usage=usage), model="gemma", offset=OFFSET)
    assert (span.name, span.trace.trace_id, span.trace.parent_id) == ("chat gemma", TRACE, SPAN)
    assert (span.start - OFFSET, span.end - OFFSET) == (10 * 10**9, 20 * 10**9)
    assert span.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gemma",
        "http.request.method": "POST",
        "http.route": CHAT,
        "slipway.request_id": "req-1",
        "slipway.key": "alice",
        "http.response.status_code": 200,
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.request.stream": True,
        "gen_ai.response.time_to_first_chunk": 0.5,
    }
    assert not span.error


def test_attributes_that_a_stream_does_not_report_are_left_out() -> None:
    [span] = spans_of(visit(stream=True, first=10.5, last=19.0, events=5), model="gemma", offset=OFFSET)
    assert "gen_ai.usage.input_tokens" not in span.attributes
    assert span.attributes["gen_ai.usage.output_tokens"] == 3


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"status": 503, "reason": "overloaded"}, "overloaded"),
        ({"status": 500}, "500"),
        ({"status": 429, "reason": "rate_limit_exceeded"}, ""),
        ({"status": 200, "reason": "client_gone"}, ""),
        ({"status": 404}, ""),
    ],
)
def test_only_a_failure_of_the_server_is_an_error(fields: dict[str, Any], error: str) -> None:
    [span] = spans_of(visit(**fields), model="", offset=0)
    assert span.error == error
    assert span.attributes.get("slipway.reason") == fields.get("reason")
    assert span.attributes.get("error.type", "") == error


# --- within an engine that sends no spans itself ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({"stream": True, "first": 11.0, "last": 19.0}, [], id="an engine with its own queue"),
        pytest.param(
            {"taken": 12.0, "stream": True, "first": 15.0, "last": 19.0},
            [("queue", 10.0, 12.0), ("prefill", 12.0, 15.0), ("decode", 15.0, 19.0)],
            id="a stream without timings of the engine",
        ),
        pytest.param(
            {"taken": 12.0, "stream": True, "first": 15.0, "last": 19.0, "usage": Usage(7, 3, 1.0, 4.0)},
            [("queue", 10.0, 14.0), ("prefill", 14.0, 15.0), ("decode", 15.0, 19.0)],
            id="a stream whose prompt waited in the engine, too",
        ),
        pytest.param(
            {"taken": 12.0, "stream": True, "first": 15.0, "last": 19.0, "usage": Usage(7, 3, 99.0, 99.0)},
            [("queue", 10.0, 12.0), ("prefill", 12.0, 15.0), ("decode", 15.0, 19.0)],
            id="impossible timings of the engine",
        ),
        pytest.param(
            {"taken": 12.0, "first": 19.0, "last": 19.0, "usage": Usage(7, 3, 2.0, 4.0)},
            [("queue", 10.0, 13.0), ("prefill", 13.0, 15.0), ("decode", 15.0, 19.0)],
            id="a response in one piece",
        ),
        pytest.param(
            {"taken": 12.0, "first": 19.0, "last": 19.0, "usage": Usage(7, 3, 99.0, 99.0)},
            [("queue", 10.0, 12.0), ("prefill", 12.0, 12.0), ("decode", 12.0, 19.0)],
            id="a response in one piece, with impossible timings",
        ),
        pytest.param({"taken": 12.0, "first": 19.0}, [("queue", 10.0, 12.0)], id="a response without timings"),
        pytest.param(
            {"taken": 12.0, "stream": True, "reason": "client_gone"},
            [("queue", 10.0, 12.0), ("prefill", 12.0, 20.0), ("decode", 20.0, 20.0)],
            id="a client that left before the first token",
        ),
    ],
)
def test_queue_prefill_and_decode_follow_each_other(fields: dict[str, Any], expected: list[object]) -> None:
    assert list(stages(visit(**fields))) == expected


def test_they_are_within_the_requests_span() -> None:
    request_span, *parts = spans_of(visit(taken=12.0, stream=True, first=15.0, last=19.0), model="", offset=OFFSET)
    assert [span.name for span in parts] == ["queue", "prefill", "decode"]
    assert {span.trace.parent_id for span in parts} == {request_span.trace.span_id}
    assert len({span.trace.span_id for span in (request_span, *parts)}) == 4


def test_a_stream_that_breaks_off_was_decoded_until_then() -> None:
    broken = visit(taken=1.0, stream=True, first=2.0, last=2.0, ended=5.0, reason="client_gone")
    assert list(stages(broken))[-1] == ("decode", 2.0, 5.0)


# --- through the guard, to a collector -------------------------------------------------------------------------------


@pytest.fixture
async def collector() -> AsyncIterator[OtlpCollector]:
    async with otlp_collector() as collector:
        yield collector


@pytest.fixture
async def traced(tmp_path: Path, collector: OtlpCollector) -> AsyncIterator[GuardHarness]:
    """A guard that samples half of the requests for which the client hasn't decided."""
    keys = keys_in(tmp_path, alice=KEY)
    endpoint = f"{collector.url}/v1/traces"
    guarded = guarding(tmp_path, keys=keys, traces_endpoint=endpoint, traces_sample_ratio=0.5)
    yield guarded
    await asyncio.to_thread(guarded.gate.close)


def recording_headers(seen: list[dict[str, str]]) -> Any:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append({name.decode(): value.decode() for name, value in scope["headers"]})
        await answering(b"{}")(scope, receive, send)

    return app


BY_ALICE = ("authorization", f"Bearer {KEY}")


async def test_a_sampled_request_is_sent_to_the_collector(traced: GuardHarness, collector: OtlpCollector) -> None:
    guard = Guard(streaming(b'data: {"choices":[{"delta":{"content":"A secret."}}]}\n\n'), traced.gate)
    answer = await ask(guard, headers=[BY_ALICE, SAMPLED], body=[b'{"messages":["Another secret."]}'])
    span = await collector.named("chat gemma")
    assert (span.kind, span.trace_id, span.parent_id) == ("SPAN_KIND_SERVER", TRACE, SPAN)
    assert answer.headers["traceparent"] == f"00-{TRACE}-{span.span_id}-01"
    assert span.attributes["slipway.key"] == "alice"
    assert "secret" not in str(span)
    await asyncio.to_thread(traced.gate.close)
    assert traced.metric("slipway_spans_total", outcome="sent") == 1


async def test_the_engines_span_is_within_ours(traced: GuardHarness, collector: OtlpCollector) -> None:
    seen: list[dict[str, str]] = []
    await ask(Guard(recording_headers(seen), traced.gate), headers=[BY_ALICE, SAMPLED, ("tracestate", "a=b")])
    span = await collector.named("chat gemma")
    assert (seen[0]["traceparent"], seen[0]["tracestate"]) == (f"00-{TRACE}-{span.span_id}-01", "a=b")


async def test_a_request_that_its_client_did_not_sample_is_not_traced(
    traced: GuardHarness, collector: OtlpCollector
) -> None:
    seen: list[dict[str, str]] = []
    guard = Guard(recording_headers(seen), traced.gate)
    await ask(guard, headers=[BY_ALICE, NOT_SAMPLED])
    assert seen[0]["traceparent"].endswith("-00")
    await ask(guard, headers=[BY_ALICE, ("traceparent", f"00-{'1' * 32}-{SPAN}-01")])
    await collector.named("chat gemma")
    assert {span.trace_id for span in collector.spans} == {"1" * 32}


async def test_of_requests_without_a_decision_the_configured_share_is_traced(
    traced: GuardHarness, collector: OtlpCollector
) -> None:
    seen: list[dict[str, str]] = []
    guard = Guard(recording_headers(seen), traced.gate)
    while {headers["traceparent"][-2:] for headers in seen} != {"00", "01"}:
        await ask(guard, headers=[BY_ALICE])
    sampled = {headers["traceparent"][3:35] for headers in seen if headers["traceparent"].endswith("01")}
    await collector.until(lambda span: True, len(sampled))
    assert {span.trace_id for span in collector.spans} == sampled


async def test_requests_without_a_key_and_requests_that_are_not_work_have_no_spans(
    traced: GuardHarness, collector: OtlpCollector
) -> None:
    guard = Guard(answering(b"{}"), traced.gate)
    await ask(guard, headers=[SAMPLED])
    await ask(guard, path="/v1/models", method="GET", headers=[BY_ALICE, SAMPLED])
    await ask(guard, path="/health", method="GET", headers=[SAMPLED])
    await ask(guard, headers=[BY_ALICE, SAMPLED])
    await collector.named("chat gemma")
    assert [span.attributes["http.route"] for span in collector.spans] == [CHAT]


async def test_a_missing_collector_does_not_affect_a_request(tmp_path: Path) -> None:
    guarded = guarding(tmp_path, traces_endpoint=f"http://127.0.0.1:{free_port()}/")
    answer = await ask(Guard(answering(b"{}"), guarded.gate), headers=[SAMPLED])
    assert (answer.status, answer.body) == (200, b"{}")
    await asyncio.to_thread(guarded.gate.close)
    assert guarded.metric("slipway_spans_total", outcome="dropped") == 1
    guarded.close()


async def test_without_a_collector_a_trace_passes_unchanged(tmp_path: Path) -> None:
    seen: list[dict[str, str]] = []
    guarded = guarding(tmp_path)
    await ask(Guard(recording_headers(seen), guarded.gate), headers=[SAMPLED])
    assert seen[0]["traceparent"] == SAMPLED[1]
    assert guarded.metric("slipway_spans_total", outcome="sent") is None
    guarded.close()
