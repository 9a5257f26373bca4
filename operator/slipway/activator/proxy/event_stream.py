"""What a held stream is told while it waits: comments, which no client of an event stream takes for content. Pure."""

from __future__ import annotations

from slipway.api.reasons import Reason
from slipway.observing.cause import Cause

_STEPS = {
    Reason.SCHEDULING: "waiting for a node",
    Reason.PULLING_IMAGE: "pulling image",
    Reason.FETCHING_MODEL: "fetching model",
    Reason.STARTING: "starting",
    Reason.LOADING_MODEL: "loading model",
}


def heartbeat(*, elapsed: float, expected: float | None, step: Reason | None, cause: Cause | None) -> bytes:
    """`: waking, pulling image, 34 s of about 80 s`"""
    doing = cause.message if cause else _STEPS.get(step, "") if step else ""
    past = f"{elapsed:.0f} s" + (f" of about {expected:.0f} s" if expected and elapsed <= expected else "")
    return comment(", ".join(part for part in ("waking", doing, past) if part))


def comment(text: str) -> bytes:
    return f": {' '.join(text.split())}\n\n".encode()


def event(data: bytes) -> bytes:
    """One event; several lines become several lines of data, as the format wants it."""
    return b"".join(b"data: %b\n" % line for line in data.splitlines() or [b""]) + b"\n"


class SingleEvent:
    """An answer as one event, as it comes: however long it is, nothing of it is kept."""

    def __init__(self) -> None:
        self._is_begun = False
        self._ends_line = False  # what was written last
        self._ends_with_cr = False

    def more(self, data: bytes) -> bytes:
        if data and self._ends_with_cr:
            self._ends_with_cr = False
            data = data.removeprefix(b"\n")  # of a line end that came in two pieces
        if not data:
            return b""
        begin = b"" if self._is_begun and not self._ends_line else b"data: "
        self._is_begun, self._ends_with_cr = True, data.endswith(b"\r")
        lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        self._ends_line = lines.endswith(b"\n")
        return begin + lines[:-1].replace(b"\n", b"\ndata: ") + lines[-1:]

    def end(self) -> bytes:
        return (b"" if self._is_begun else b"data: ") + (b"\n" if self._ends_line else b"\n\n")
