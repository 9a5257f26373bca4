"""What a trace shows of the time that a request waited in the activator, whatever a client claims about it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
from slipway_runtime.contract.hold import Hold, parse_hold
from slipway_runtime.guard.asgi import Guard
from slipway_runtime.guard.exchange import Receive, Scope, Send
from slipway_runtime.guard.hold_spans import spans_of_hold
from slipway_runtime.tracing.context import Trace
from slipway_runtime.tracing.spans import Span
from slipway_runtime.tracing.start_record import StartRecord
from support.fakes.otlp_collector import OtlpCollector, otlp_collector
from support.programs.guard import GuardHarness, answering, ask, guarding

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = ("traceparent", f"00-{TRACE}-{SPAN}-01")
REQUEST = Trace(TRACE, SPAN, sampled=True)
SENT = 1_764_500_000_000_000_000
START = Trace("1" * 32, "2" * 16, sampled=True)
WAKE = Hold(arrived=20_000, held=19_990, woken=19_980, ready=1000, created=19_000, scheduled=18_000)


def started(*seconds: float) -> StartRecord:
    """The start of a pod whose process started, loaded its model and was ready so long before the request was sent."""
    names = ("started", "loaded", "ready")
    return StartRecord(START, tuple((name, SENT - int(at * 1e9)) for name, at in zip(names, seconds, strict=True)))


def times(spans: list[Span]) -> list[tuple[str, float, float]]:
    """Seconds before the request was sent."""
    return [(span.name, (SENT - span.start) / 1e9, (SENT - span.end) / 1e9) for span in spans]


def test_a_hold_without_a_wake_is_one_span() -> None:
    [span] = spans_of_hold(Hold(arrived=3000, held=2900), REQUEST, sent=SENT, start=started(90, 80, 70))
    assert times([span]) == [("hold", 3, 0)]
    assert span.trace.parent_id == SPAN


def test_a_wake_has_its_phases_one_after_the_other_and_a_link_to_the_trace_of_the_start() -> None:
    spans = spans_of_hold(WAKE, REQUEST, sent=SENT, start=started(10, 4, 1.5))
    assert times(spans) == [
        ("hold", 20, 0),
        ("wake", 19.98, 1),
        ("scale", 19.98, 19),
        ("schedule", 19, 18),
        ("pull", 18, 10),
        ("start", 10, 1.5),
        ("loaded", 10, 4),
        ("ready", 4, 1.5),
    ]
    named = {span.name: span for span in spans}
    parents = {span.name: span.trace.parent_id for span in spans}
    own = {name: span.trace.span_id for name, span in named.items()}
    assert (parents["hold"], parents["wake"], parents["pull"]) == (SPAN, own["hold"], own["wake"])
    assert (parents["start"], parents["loaded"]) == (own["wake"], own["start"])
    assert [span.name for span in spans if span.links] == ["start"]
    assert named["start"].links == (START,)


def test_of_a_wake_that_an_earlier_request_has_caused_the_part_in_the_hold_is_shown() -> None:
    late = Hold(arrived=5000, held=5000, woken=19_980, ready=1000, created=19_000, scheduled=18_000)
    spans = spans_of_hold(late, REQUEST, sent=SENT, start=started(10, 4, 1.5))
    assert times(spans)[1:] == [("wake", 5, 1), ("start", 5, 1.5), ("loaded", 5, 4), ("ready", 4, 1.5)]
    assert spans[1].attributes == {"slipway.woken_before_ms": 19_980}


def test_without_a_record_of_the_start_what_the_activator_knows_is_shown() -> None:
    assert [name for name, *_ in times(spans_of_hold(WAKE, REQUEST, sent=SENT, start=None))] == [
        *("hold", "wake", "scale", "schedule")
    ]


@pytest.mark.parametrize("seed", range(200))
def test_no_span_ends_before_it_starts_or_is_outside_of_its_parent_whatever_the_clocks_show(seed: int) -> None:
    draw = random.Random(seed)
    arrived, held = sorted((draw.randrange(20_000), draw.randrange(20_000)), reverse=True)
    woken, ready, created, scheduled = (draw.randrange(40_000) for _ in range(4))
    hold = Hold(arrived=arrived, held=held, woken=woken, ready=ready, created=created, scheduled=scheduled)
    spans = spans_of_hold(hold, REQUEST, sent=SENT, start=started(*(draw.uniform(-20, 40) for _ in range(3))))
    by_id = {span.trace.span_id: span for span in spans}
    assert all(span.start <= span.end for span in spans)
    for span in spans[1:]:
        parent = by_id[span.trace.parent_id]
        assert parent.start <= span.start <= span.end <= parent.end
    steps = [span for span in spans if span.trace.parent_id == spans[1].trace.span_id]
    assert all(one.end == next_one.start for one, next_one in pairwise(steps))


# --- the header ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "hold", [Hold(arrived=1, held=0), Hold(arrived=5, held=5, woken=4, ready=3), WAKE], ids=["awake", "woken", "pod"]
)
def test_what_is_written_is_read_again(hold: Hold) -> None:
    assert parse_hold(str(hold)) == hold


def test_times_beyond_reason_are_cut() -> None:
    assert parse_hold(str(Hold(arrived=10**12, held=-5))) == Hold(arrived=99_999_999, held=0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "arrived=1",
        "arrived=5,held=6",
        "arrived=-5,held=1",
        "arrived=5,held=1,woken=3",
        "arrived=5,held=1,created=3,scheduled=3",
        "held=1,arrived=5",
        "arrived=5, held=1",
        "arrived=5,held=1,",
        "arrived=123456789,held=1",
        "arrived=05,held=1",
        "arrived=\u0665,held=1",
        "arrived=5,held=1\n",
        "arrived=5,held=1,woken=nan,ready=1",
        "arrived=5,held=1" * 10_000,
    ],
)
def test_anything_that_the_activator_does_not_write_is_ignored(text: str) -> None:
    assert parse_hold(text) is None


# --- through the guard, to a collector -------------------------------------------------------------------------------


@pytest.fixture
async def collector() -> AsyncIterator[OtlpCollector]:
    async with otlp_collector() as collector:
        yield collector


@pytest.fixture
async def traced(tmp_path: Path, collector: OtlpCollector, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Guard]:
    monkeypatch.setenv("SLIPWAY_CONTROL", str(tmp_path / "control"))
    harness = guarding(tmp_path, traces_endpoint=f"{collector.url}/v1/traces")
    yield Guard(answering(b"{}"), harness.gate)
    harness.close()


async def test_the_span_of_a_held_request_starts_when_it_arrived_at_the_activator(
    traced: Guard, collector: OtlpCollector, tmp_path: Path
) -> None:
    started(10, 4, 1.5).write(tmp_path)
    await ask(traced, headers=[SAMPLED, ("slipway-hold", str(Hold(arrived=3000, held=2900, woken=2900, ready=10)))])
    request = await collector.named("chat gemma")
    [hold] = collector.within(request)
    [wake] = collector.within(hold)
    assert (request.trace_id, request.parent_id, request.attributes["slipway.held_ms"]) == (TRACE, SPAN, 3000)
    assert (hold.start, wake.name) == (request.start, "wake")
    assert hold.end - hold.start == 3 * 10**9
    assert hold.lies_within(request)
    assert wake.lies_within(hold)


@pytest.mark.parametrize("forged", ["", "arrived=1", "x" * 100_000])
async def test_a_forged_header_changes_nothing(traced: Guard, collector: OtlpCollector, forged: str) -> None:
    await ask(traced, headers=[SAMPLED, ("slipway-hold", forged)])
    request = await collector.named("chat gemma")
    assert [span.name for span in collector.spans] == ["chat gemma"]
    assert "slipway.held_ms" not in request.attributes


async def test_the_engine_does_not_get_the_header(tmp_path: Path) -> None:
    seen: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend(name for name, _ in scope["headers"])
        await answering(b"{}")(scope, receive, send)

    harness: GuardHarness = guarding(tmp_path)
    await ask(Guard(app, harness.gate), headers=[("slipway-hold", str(WAKE)), ("x-other", "1")])
    harness.close()
    assert b"x-other" in seen
    assert b"slipway-hold" not in seen


# --- the record of the start -----------------------------------------------------------------------------------------


def test_the_record_of_a_start_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert StartRecord.read(tmp_path) is None
    started(10, 4, 1.5).write(tmp_path)
    read = StartRecord.read(tmp_path)
    assert read == started(10, 4, 1.5)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"traceparent": 5, "moments": []}', '{"traceparent": "x"}'])
def test_a_damaged_record_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "start.json").write_text(content)
    assert StartRecord.read(tmp_path) is None
