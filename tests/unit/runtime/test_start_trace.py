"""The start of a pod as a trace."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from slipway_runtime.contract.reasons import Reason
from slipway_runtime.failure import Failure
from slipway_runtime.supervisor.phases import Moment, PhaseRecorder
from slipway_runtime.supervisor.start_trace import StartTrace, spans_of
from slipway_runtime.tracing.collector import ExportOutcome
from slipway_runtime.tracing.context import Trace
from slipway_runtime.tracing.exporter import Exporter
from slipway_runtime.tracing.spans import Span
from support.fakes.otlp_collector import from_json, received

BEGAN = datetime(2026, 11, 21, 12, tzinfo=UTC)
TRACE = Trace("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", sampled=True)
FAILURE = Failure(Reason.HOST_OUT_OF_MEMORY, "It was killed.", "Give it more memory.", "loading")


def moments(**reached: float) -> list[Moment]:
    return [Moment(name, seconds, BEGAN) for name, seconds in {"started": 0.0, **reached}.items()]


def seconds(span: Span) -> tuple[float, float]:
    began = int(BEGAN.timestamp()) * 10**9
    return (span.start - began) / 1e9, (span.end - began) / 1e9


def test_a_phase_is_a_span_that_ends_when_the_next_one_starts() -> None:
    root, *phases = spans_of(moments(checked=0.25, loaded=1.5, ready=2.0), 99.0, TRACE, {"slipway.engine": "vllm"})
    assert (root.name, seconds(root), root.error) == ("start", (0.0, 2.0), "")
    assert root.attributes == {"slipway.engine": "vllm"}
    assert [(span.name, *seconds(span)) for span in phases] == [
        ("checked", 0.0, 0.25),
        ("loaded", 0.25, 1.5),
        ("ready", 1.5, 2.0),
    ]
    assert {(span.trace.trace_id, span.trace.parent_id) for span in phases} == {(TRACE.trace_id, TRACE.span_id)}


def test_a_start_that_fails_shows_where_and_why() -> None:
    root, *phases = spans_of(moments(checked=0.25, loading=0.5, ended=3.0), 3.25, TRACE, {}, FAILURE)
    assert (seconds(root), root.error) == ((0.0, 3.25), "HostOutOfMemory: It was killed.")
    assert root.attributes == {
        "error.type": "HostOutOfMemory",
        "slipway.remedy": "Give it more memory.",
        "slipway.phase": "loading",
    }
    assert [(span.name, *seconds(span)) for span in phases][-1] == ("failed", 0.5, 3.25)
    assert [bool(span.error) for span in phases] == [False, False, True]


def test_a_start_that_fails_a_check_has_only_one_phase() -> None:
    _, phase = spans_of(moments(), 0.2, TRACE, {}, FAILURE)
    assert (phase.name, seconds(phase)) == ("failed", (0.0, 0.2))


@pytest.mark.parametrize(
    "trace",
    [StartTrace(), StartTrace(Exporter.to("http://otel/"), parent=f"00-{TRACE.trace_id}-{TRACE.span_id}-00")],
    ids=["without a collector", "not sampled by its parent"],
)
def test_a_start_that_is_not_traced_passes_on_no_trace(trace: StartTrace) -> None:
    assert (trace.id, trace.traceparent, trace.environment) == (None, None, {})


def test_an_engine_that_dies_after_it_was_ready_is_not_a_failed_start() -> None:
    bodies: list[bytes] = []

    class Collector:
        def take(self, body: bytes) -> ExportOutcome:
            bodies.append(body)
            return ExportOutcome()

    trace = StartTrace(Exporter(Collector(), {}, gather=0), attributes={"slipway.engine": "vllm"})
    phases = PhaseRecorder()
    phases.reach("ready")
    trace.ready(phases, {"slipway.kvTokens": "1200"})
    trace.failed(phases, FAILURE)
    trace.close()
    root, phase = [span for body in bodies for span in received(from_json(body))]
    assert (root.name, root.trace_id, root.error) == ("start", trace.id, None)
    assert root.attributes == {"slipway.engine": "vllm", "slipway.kvTokens": "1200"}
    assert (phase.name, phase.parent_id) == ("ready", root.span_id)
