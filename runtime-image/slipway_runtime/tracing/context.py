"""W3C trace context, as the header `traceparent` carries it from one program to the next."""

import os
import re
from dataclasses import dataclass, replace

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


@dataclass(frozen=True, slots=True)
class Trace:
    """A position in a trace: this span, and its parent."""

    trace_id: str
    span_id: str
    parent_id: str = ""
    sampled: bool = False

    def traceparent(self) -> str:
        """Returns the header for the next program on the way."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"

    def child(self) -> "Trace":
        return replace(self, span_id=os.urandom(8).hex(), parent_id=self.span_id)


def trace_of(traceparent: str | None, *, share: float = 0.0) -> Trace:
    """Returns a span in the caller's trace, and the caller decides about sampling; else in a new trace, sampled by
    `share`."""
    if traceparent and (given := parse_traceparent(traceparent)):
        return given.child()
    ids = os.urandom(24).hex()
    trace_id = ids[:32]
    return Trace(trace_id, ids[32:], sampled=share > 0 and is_within(trace_id, share))


def is_within(trace_id: str, share: float) -> bool:
    """Decides as OpenTelemetry's ratio sampler does: every program gets the same result for a trace."""
    return int(trace_id[16:], 16) < share * 2**64


def parse_traceparent(traceparent: str) -> Trace | None:
    """Returns the caller's span; None for an invalid header."""
    found = _TRACEPARENT.fullmatch(traceparent)
    if not found:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not int(trace_id, 16) or not int(span_id, 16):
        return None
    return Trace(trace_id, span_id, sampled=bool(int(flags, 16) & 1))
