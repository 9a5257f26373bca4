"""The spans of a request's time in the activator: the hold, and in it the wake that the request waited for. Pure.

The activator sends no spans itself: a tenant chooses the collector, and could make it send requests to any address.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from slipway_runtime.contract.hold import Hold
from slipway_runtime.tracing.context import Trace
from slipway_runtime.tracing.spans import Span
from slipway_runtime.tracing.start_record import StartRecord

MILLISECOND = 1_000_000

Step = tuple[str, int]
"""Its name, and when it was over, in nanoseconds since 1970."""


def spans_of_hold(hold: Hold, request: Trace, *, sent: int, start: StartRecord | None) -> list[Span]:
    """Returns the spans of what came before the request was `sent` to this pod, in nanoseconds since 1970."""
    held = request.child()
    began = sent - hold.arrived * MILLISECOND
    return [Span(name="hold", trace=held, start=began, end=sent), *_wake(hold, held, began, sent, start)]


def _wake(hold: Hold, held: Trace, began: int, sent: int, start: StartRecord | None) -> Iterator[Span]:
    """Yields nothing if the model was awake. Of a wake that an earlier request has caused, the part in this hold."""
    if hold.woken is None or hold.ready is None:
        return
    ready = max(began, sent - hold.ready * MILLISECOND)
    first = min(ready, max(began, sent - hold.woken * MILLISECOND))
    wake = held.child()
    yield Span(name="wake", trace=wake, start=first, end=ready, attributes={"slipway.woken_before_ms": hold.woken})
    for span in _in_order(list(_steps(hold, sent, start)), wake, first, ready, start):
        yield span
        if span.name == "start" and start:
            yield from _in_order(list(start.moments[1:]), span.trace, span.start, span.end)


def _steps(hold: Hold, sent: int, start: StartRecord | None) -> Iterator[Step]:
    if hold.created is not None and hold.scheduled is not None:
        yield "scale", sent - hold.created * MILLISECOND
        yield "schedule", sent - hold.scheduled * MILLISECOND
    if start:
        yield "pull", start.moments[0][1]
        yield "start", start.moments[-1][1]


def _in_order(
    steps: Sequence[Step], parent: Trace, first: int, last: int, start: StartRecord | None = None
) -> Iterator[Span]:
    """Yields the steps one after the other, within the given time. The API server writes seconds without a fraction, by
    another clock: a step that would end before it starts is left out."""
    ends = [first]
    for name, end in steps:
        ends.append(min(last, max(ends[-1], end)))
        if ends[-1] > ends[-2]:
            links = (start.trace,) if start and name == "start" else ()
            yield Span(name=name, trace=parent.child(), start=ends[-2], end=ends[-1], links=links)
