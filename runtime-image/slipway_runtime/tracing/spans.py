"""Spans, and their JSON in OTLP: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from slipway_runtime.tracing.context import Trace

SCOPE = "slipway_runtime"
ERROR = 2  # the status of a failed span

Value = str | bool | int | float
Attributes = Mapping[str, Value]


class SpanKind(IntEnum):
    INTERNAL = 1
    SERVER = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    name: str
    trace: Trace
    kind: SpanKind = SpanKind.INTERNAL
    start: int  # both in nanoseconds since 1970
    end: int
    attributes: Attributes = field(default_factory=dict)
    error: str = ""  # what went wrong; empty if nothing did
    links: tuple[Trace, ...] = ()  # spans of other traces that explain this one


def encoded(spans: Iterable[Span], resource: Attributes) -> bytes:
    """Returns the body of one POST. Each span is encoded separately, so that threads with more urgent work get their
    turns."""
    head = {"resource": {"attributes": _attributes(resource)}}
    before = _json(head)[:-1] + ',"scopeSpans":[{"scope":{"name":"' + SCOPE + '"},"spans":['
    return ('{"resourceSpans":[' + before + ",".join(_json(_as_json(span)) for span in spans) + "]}]}]}").encode()


def _as_json(span: Span) -> dict[str, object]:
    parent = {"parentSpanId": span.trace.parent_id} if span.trace.parent_id else {}
    links = [{"traceId": each.trace_id, "spanId": each.span_id} for each in span.links]
    status = {"status": {"code": ERROR, "message": span.error}} if span.error else {}
    return {
        "traceId": span.trace.trace_id,
        "spanId": span.trace.span_id,
        **parent,
        "name": span.name,
        "kind": int(span.kind),
        "startTimeUnixNano": str(span.start),
        "endTimeUnixNano": str(span.end),
        "attributes": _attributes(span.attributes),
        **({"links": links} if links else {}),
        **status,
    }


def _attributes(attributes: Attributes) -> list[dict[str, object]]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: Value) -> dict[str, object]:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}  # JSON's numbers hold less than 64 bits
        case float():
            return {"doubleValue": value}
    return {"stringValue": value}


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
