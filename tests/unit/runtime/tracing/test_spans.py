"""Spans as OTLP's JSON, parsed by OpenTelemetry's own types, which accept nothing that they don't know."""

from slipway_runtime.tracing.context import Trace
from slipway_runtime.tracing.spans import Span, SpanKind, encoded
from support.fakes.otlp_collector import from_json, received

TRACE, SPAN, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "53995c3f42cd8ad8"
HERE = Trace(TRACE, SPAN, PARENT, sampled=True)


def test_every_part_of_a_span_is_encoded() -> None:
    span = Span(
        name="chat gemma",
        trace=HERE,
        kind=SpanKind.SERVER,
        start=1_763_700_000_123_456_789,
        end=1_763_700_001_000_000_000,
        attributes={"word": 'with "quotes" and ü', "count": 2**62, "share": 0.25, "yes": True},
        error="EngineCrashed: it was killed",
    )
    [decoded] = received(from_json(encoded([span], {"service.name": "gemma"})))
    assert (decoded.name, decoded.kind) == ("chat gemma", "SPAN_KIND_SERVER")
    assert (decoded.trace_id, decoded.span_id, decoded.parent_id) == (TRACE, SPAN, PARENT)
    assert (decoded.start, decoded.end) == (1_763_700_000_123_456_789, 1_763_700_001_000_000_000)
    assert decoded.attributes == {"word": 'with "quotes" and ü', "count": 2**62, "share": 0.25, "yes": True}
    assert decoded.error == "EngineCrashed: it was killed"
    assert decoded.resource == {"service.name": "gemma"}


def test_a_root_span_has_no_parent_and_a_successful_span_no_error() -> None:
    [decoded] = received(from_json(encoded([Span(name="start", trace=Trace(TRACE, SPAN), start=1, end=2)], {})))
    assert (decoded.parent_id, decoded.error, decoded.kind) == ("", None, "SPAN_KIND_INTERNAL")


def test_many_spans_go_in_one_body() -> None:
    spans = [Span(name=f"span {number}", trace=HERE.child(), start=number, end=number) for number in range(600)]
    assert [decoded.name for decoded in received(from_json(encoded(spans, {})))] == [span.name for span in spans]
