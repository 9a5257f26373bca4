"""The guard measures the times between tokens and in the queue, and the batch, where the engine doesn't."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from slipway_runtime.contract.buckets import TOKEN_BUCKETS
from slipway_runtime.guard.asgi import VISIT, Guard
from slipway_runtime.guard.exchange import App, Receive, Scope, Send
from support.programs.guard import GuardHarness, ask, chunk, guarding, tokens

GAPS, QUEUE = "slipway_inter_token_latency_seconds", "slipway_queue_seconds"
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":7}}\n\n'
END = [chunk(finish_reason="stop"), USAGE, b"data: [DONE]\n\n"]


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def harness(tmp_path: Path, clock: Clock) -> Iterator[GuardHarness]:
    harness = guarding(tmp_path, clock, in_place_of_engine=True)
    yield harness
    harness.close()


def streaming_by(clock: Clock, *steps: tuple[float, bytes]) -> App:
    """An app that sends pieces, each after the given seconds."""

    async def app(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for seconds, piece in steps:
            clock.now += seconds
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return app


def at_most(harness: GuardHarness, bound: float) -> float | None:
    return harness.metric(f"{GAPS}_bucket", le=str(bound))


async def test_each_time_between_tokens_is_counted_and_the_time_to_the_first_is_not(
    harness: GuardHarness, clock: Clock
) -> None:
    pieces = tokens("abcdef")
    gaps = (9.0, 0.005, 0.005, 0.02, 0.005, 0.25)
    app = streaming_by(clock, *zip(gaps, pieces, strict=True), *((0.0001, piece) for piece in END))
    await ask(Guard(app, harness.gate))
    assert harness.metric(f"{GAPS}_count") == 5
    assert harness.metric(f"{GAPS}_sum") == pytest.approx(0.285)
    # A boundary belongs to its bucket; the sums of the fake clock are a little off.
    assert [at_most(harness, bound) for bound in (0.004, 0.006, 0.015, 0.025, 0.2, 0.3)] == [0, 3, 3, 4, 4, 5]


async def test_tokens_that_arrive_together_have_one_time_between_them_and_the_ones_before(
    harness: GuardHarness, clock: Clock
) -> None:
    one, two, three = tokens("abc")
    await ask(Guard(streaming_by(clock, (1, one), (0.5, two + three), (0, END[0])), harness.gate))
    assert (harness.metric(f"{GAPS}_count"), harness.metric(f"{GAPS}_sum")) == (1, 0.5)


async def test_an_event_in_two_pieces_counts_when_it_is_complete(harness: GuardHarness, clock: Clock) -> None:
    one, two = tokens("ab")
    await ask(Guard(streaming_by(clock, (1, one), (0.25, two[:20]), (0.25, two[20:])), harness.gate))
    assert (harness.metric(f"{GAPS}_count"), harness.metric(f"{GAPS}_sum")) == (1, 0.5)


async def test_all_buckets_are_there_before_the_first_request(harness: GuardHarness) -> None:
    assert [at_most(harness, bound) for bound in TOKEN_BUCKETS] == [0] * len(TOKEN_BUCKETS)
    assert harness.metric(f"{QUEUE}_count") == 0


async def test_the_time_in_the_queue_starts_when_the_body_is_complete(harness: GuardHarness, clock: Clock) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        clock.now += 3
        harness.gate.take(scope[VISIT])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    await ask(Guard(app, harness.gate))
    assert (harness.metric(f"{QUEUE}_count"), harness.metric(f"{QUEUE}_sum")) == (1, 3)


async def test_a_request_is_queued_until_the_engine_gets_it_or_it_ends(harness: GuardHarness) -> None:
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        seen.append(harness.metric("slipway_requests_queued"))
        if len(seen) == 1:
            harness.gate.take(scope[VISIT])
            seen.append(harness.metric("slipway_requests_queued"))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    assert harness.metric("slipway_requests_queued") == 0
    for _ in range(2):  # the second is never taken
        await ask(Guard(app, harness.gate))
    assert seen == [1, 0, 1]
    assert harness.metric("slipway_requests_queued") == 0


async def test_a_request_that_was_taken_leaves_the_queue_once_even_if_nobody_counts_what_runs(
    harness: GuardHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        harness.gate.take(scope[VISIT])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    monkeypatch.setattr(harness.gate._metrics, "running", None)
    await ask(Guard(app, harness.gate))
    assert harness.metric("slipway_requests_queued") == 0


async def test_the_mean_number_of_responses_at_a_time_is_the_rate_of_a_counter(
    harness: GuardHarness, clock: Clock
) -> None:
    counted = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        clock.now += 5  # in the queue
        harness.gate.take(scope[VISIT])
        for _ in range(2):
            clock.now += 3
            counted.append(harness.metric("slipway_engine_response_seconds_total"))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    await ask(Guard(app, harness.gate), body=[b'{"n":4}'])
    clock.now += 10
    assert [*counted, harness.metric("slipway_engine_response_seconds_total")] == [12, 24, 24]


async def test_an_engine_that_measures_them_itself_is_not_measured_twice(tmp_path: Path, clock: Clock) -> None:
    harness = guarding(tmp_path, clock)
    await ask(Guard(streaming_by(clock, *((1, piece) for piece in tokens("ab"))), harness.gate))
    assert (harness.metric(f"{GAPS}_count"), harness.metric(f"{QUEUE}_count")) == (None, None)
    harness.close()
