"""Request ids and W3C trace context: taken from the request where they are well formed, made where not."""

import os
import re
from dataclasses import dataclass, replace

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")


@dataclass(frozen=True, slots=True)
class Trace:
    """Where a request stands in its trace: this span, and the one that it belongs to."""

    trace_id: str
    span_id: str
    parent_id: str = ""
    sampled: bool = False

    def traceparent(self) -> str:
        """What the next one on the way is told."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"

    def child(self) -> "Trace":
        return replace(self, span_id=os.urandom(8).hex(), parent_id=self.span_id)


def trace_of(traceparent: str | None) -> Trace:
    """A span of the client's trace, or of a new one."""
    if traceparent and (given := _parse(traceparent)):
        return given.child()
    return Trace(os.urandom(16).hex(), os.urandom(8).hex())


def request_id_of(given: str | None) -> str:
    """The client's, if it can stand in a header and in a line of a log."""
    return given if given and _REQUEST_ID.fullmatch(given) else os.urandom(16).hex()


def _parse(traceparent: str) -> Trace | None:
    found = _TRACEPARENT.fullmatch(traceparent)
    if not found:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not int(trace_id, 16) or not int(span_id, 16):
        return None
    return Trace(trace_id, span_id, sampled=bool(int(flags, 16) & 1))
