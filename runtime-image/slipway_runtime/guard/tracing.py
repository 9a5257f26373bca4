"""The spans of requests: ours around the engine's, and within it the stages of an engine that sends no spans itself.

Names are those of OpenTelemetry's conventions for generative AI and HTTP. Prompts and responses are never in them.
"""

from __future__ import annotations

import atexit
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from slipway_runtime import control
from slipway_runtime.contract.hold import parse_hold
from slipway_runtime.guard.answers import Usage
from slipway_runtime.guard.hold_spans import spans_of_hold
from slipway_runtime.guard.metrics import GuardMetrics
from slipway_runtime.guard.settings import GuardSettings
from slipway_runtime.guard.visit import Visit
from slipway_runtime.tracing.exporter import Exporter
from slipway_runtime.tracing.spans import Span, SpanKind, Value
from slipway_runtime.tracing.start_record import StartRecord

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
    def __init__(self, exporter: Exporter, *, model: str, folder: Path | None = None) -> None:
        """`folder`: in which process 1 writes how the pod has started."""
        self._exporter, self._model, self._folder = exporter, model, folder
        self._start: StartRecord | None = None

    @classmethod
    def of(cls, settings: GuardSettings, metrics: GuardMetrics) -> Self | None:
        """Returns None without an endpoint to send traces to."""
        if not settings.traces_endpoint:
            return None
        exporter = Exporter.to(settings.traces_endpoint, count=metrics.spans)
        tracer = cls(exporter, model=settings.model, folder=control.folder())
        atexit.register(tracer.close)
        return tracer

    def send(self, visit: Visit) -> None:
        """Sends the spans of a visit that has ended just now."""
        offset = time.time_ns() - _nanoseconds(visit.ended)
        start = self._started() if visit.hold else None
        self._exporter.add(spans_of(visit, model=self._model, offset=offset, start=start))

    def _started(self) -> StartRecord | None:
        """Reads the record once, for the first request that was held."""
        if self._start is None and self._folder:
            self._start = StartRecord.read(self._folder)
        return self._start

    def close(self) -> None:
        self._exporter.close()


def spans_of(visit: Visit, *, model: str, offset: int, start: StartRecord | None = None) -> list[Span]:
    """Returns the spans. `offset` converts the visit's clock, in nanoseconds, to Unix time. The span of a request that
    was held starts when it arrived at the activator."""
    received = _nanoseconds(visit.started) + offset
    hold = parse_hold(visit.hold)
    before = spans_of_hold(hold, visit.trace, sent=received, start=start) if hold else []
    request = Span(
        name=f"{OPERATIONS.get(visit.path, visit.path)} {model}".strip(),
        trace=visit.trace,
        kind=SpanKind.SERVER,
        start=before[0].start if before else received,
        end=_nanoseconds(visit.ended) + offset,
        attributes=dict(_attributes(visit, model)) | ({"slipway.held_ms": hold.arrived} if hold else {}),
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
    return [request, *before, *within]


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
