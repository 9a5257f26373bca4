"""An OpenTelemetry collector: receives traces over OTLP/HTTP, as JSON or protobuf, and parses them by the official
types.

A field that those types don't have is an error, and the sender gets a response other than 200.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from support.ports import free_port

PATIENCE = 60.0  # seconds, for a busy machine
IDS = ("traceId", "spanId", "parentSpanId")


@dataclass(frozen=True)
class Received:
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: str
    start: int
    end: int
    attributes: dict[str, Any]
    error: str | None
    resource: dict[str, Any]
    links: list[tuple[str, str]]

    def lies_within(self, other: Received) -> bool:
        return other.start <= self.start <= self.end <= other.end


@dataclass
class OtlpCollector:
    port: int = field(default_factory=free_port)
    spans: list[Received] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def traces(self, request: web.Request) -> web.Response:
        kind, body = request.content_type, await request.read()
        message = from_json(body) if kind == "application/json" else ExportTraceServiceRequest.FromString(body)
        self.spans += received(message)
        self.headers.append(dict(request.headers))
        self._news.set()
        return web.Response(body=b"{}", content_type="application/json")

    async def until(self, wanted: Callable[[Received], bool], number: int = 1) -> list[Received]:
        """Waits for this many spans."""
        async with asyncio.timeout(PATIENCE):
            while len(found := [span for span in self.spans if wanted(span)]) < number:
                self._news.clear()
                await self._news.wait()
        return found

    async def named(self, name: str) -> Received:
        return (await self.until(lambda span: span.name == name))[0]

    def within(self, parent: Received) -> list[Received]:
        return [span for span in self.spans if span.parent_id == parent.span_id]


@asynccontextmanager
async def otlp_collector() -> AsyncIterator[OtlpCollector]:
    collector, app = OtlpCollector(), web.Application()
    app.router.add_post("/v1/traces", collector.traces)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", collector.port).start()
    try:
        yield collector
    finally:
        await runner.cleanup()


def from_json(body: bytes) -> ExportTraceServiceRequest:
    """Parses JSON as protobuf does, except that OTLP writes ids as hexadecimal digits, and protobuf as base64."""
    return ParseDict(_with_base64(json.loads(body)), ExportTraceServiceRequest())


def received(message: ExportTraceServiceRequest) -> Iterator[Received]:
    for resource in message.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Received(
                    name=span.name,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    kind=trace_pb2.Span.SpanKind.Name(span.kind),
                    start=span.start_time_unix_nano,
                    end=span.end_time_unix_nano,
                    attributes=_read(span.attributes),
                    error=span.status.message if span.status.code == trace_pb2.Status.STATUS_CODE_ERROR else None,
                    resource=_read(resource.resource.attributes),
                    links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
                )


def _read(attributes: Any) -> dict[str, Any]:
    def value(pair: KeyValue) -> Any:
        kind = pair.value.WhichOneof("value")
        return getattr(pair.value, kind) if kind else None

    return {pair.key: value(pair) for pair in attributes}


def _with_base64(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_base64(each) for each in value]
    if isinstance(value, dict):
        return {name: _base64(each) if name in IDS else _with_base64(each) for name, each in value.items()}
    return value


def _base64(digits: str) -> str:
    return base64.b64encode(bytes.fromhex(digits)).decode()
