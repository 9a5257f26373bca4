"""The spans of requests: ours around the engine's, and within it the stages of an engine that sends no spans itself.

Names are those of OpenTelemetry's conventions for generative AI and HTTP. Prompts and responses are never in them.
"""

from __future__ import annotations

import atexit
import time
from collections.abc import Iterator
from typing import Self

from slipway_runtime.guard.answers import Usage
from slipway_runtime.guard.metrics import GuardMetrics
from slipway_runtime.guard.settings import GuardSettings
from slipway_runtime.guard.visit import Visit
from slipway_runtime.tracing.exporter import Exporter
from slipway_runtime.tracing.spans import Span, SpanKind, Value

OPERATIONS = {
    "/v1/chat/completions": "chat",
    "/v1/responses": "chat",
    "/v1/messages": "chat",
    "/v1/completions": "text_completion",
    "/v1/embeddings": "embeddings",
}

Stage = tuple[str, float, float]
"""Its name, start and end."""


class Tracer:
    def __init__(self, exporter: Exporter, *, model: str) -> None:
        self._exporter, self._model = exporter, model

    @classmethod
    def of(cls, settings: GuardSettings, metrics: GuardMetrics) -> Self | None:
        """Returns None without an endpoint to send traces to."""
        if not settings.traces_endpoint:
            return None
        tracer = cls(Exporter.to(settings.traces_endpoint, count=metrics.spans), model=settings.model)
        atexit.register(tracer.close)
        return tracer

    def send(self, visit: Visit) -> None:
        """Sends the spans of a visit that has ended just now."""
        self._exporter.add(spans_of(visit, model=self._model, offset=time.time_ns() - _nanoseconds(visit.ended)))

    def close(self) -> None:
        self._exporter.close()


def spans_of(visit: Visit, *, model: str, offset: int) -> list[Span]:
    """Returns the spans. `offset` converts the visit's clock, in nanoseconds, to Unix time."""
    request = Span(
        name=f"{OPERATIONS.get(visit.path, visit.path)} {model}".strip(),
        trace=visit.trace,
        kind=SpanKind.SERVER,
        start=_nanoseconds(visit.started) + offset,
        end=_nanoseconds(visit.ended) + offset,
        attributes=dict(_attributes(visit, model)),
        error=(visit.reason or str(visit.status)) if visit.status >= 500 else "",
    )
    within = (
        Span(
            name=name,
            trace=visit.trace.child(),
            start=_nanoseconds(start) + offset,
            end=_nanoseconds(end) + offset,
        )
        for name, start, end in stages(visit)
    )
    return [request, *within]


def stages(visit: Visit) -> Iterator[Stage]:
    """Yields the known stages, one after the other without gaps. Engines that send spans report their own."""
    if not visit.taken:
        return
    usage = visit.usage or Usage()
    done = visit.ended if visit.reason else visit.last or visit.ended
    if not (visit.stream or usage.decode):
        yield "queue", visit.started, visit.taken
        return
    first = max(visit.taken, (visit.first or done) if visit.stream else done - usage.decode)
    begun = max(visit.taken, first - usage.prefill) if usage.prefill else visit.taken
    yield "queue", visit.started, begun
    yield "prefill", begun, first
    yield "decode", first, done


def _attributes(visit: Visit, model: str) -> Iterator[tuple[str, Value]]:
    if operation := OPERATIONS.get(visit.path):
        yield "gen_ai.operation.name", operation
    if model:
        yield "gen_ai.request.model", model
    yield "http.request.method", visit.method
    yield "http.route", visit.path
    yield "slipway.request_id", visit.request_id
    yield "slipway.key", visit.owner
    if visit.status:
        yield "http.response.status_code", visit.status
    if visit.reason:
        yield "slipway.reason", visit.reason
    if visit.status >= 500:
        yield "error.type", visit.reason or str(visit.status)
    if visit.usage:
        yield "gen_ai.usage.input_tokens", visit.prompt_tokens
    if visit.usage or visit.completion_tokens:
        yield "gen_ai.usage.output_tokens", visit.completion_tokens
    if visit.stream:
        yield "gen_ai.request.stream", True
        if visit.first:
            yield "gen_ai.response.time_to_first_chunk", visit.first - visit.started


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
