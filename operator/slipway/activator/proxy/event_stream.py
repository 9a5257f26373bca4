"""What the activator writes into the event stream of a held request: heartbeats as comments, which no client takes for
content, and a response or an error as one event. Pure."""

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
    """One event; each line becomes a line of data, as the format requires."""
    return b"".join(b"data: %b\n" % line for line in data.splitlines() or [b""]) + b"\n"


class SingleEvent:
    """Writes a response as one event while it arrives: however long it is, nothing of it is stored."""

    def __init__(self) -> None:
        self._last = b""  # byte that was written; empty before the first one
        self._after_cr = False  # the last piece ended with a carriage return, to which a line feed may belong

    def more(self, data: bytes) -> bytes:
        if data and self._after_cr:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        if not data:
            return b""
        prefix = b"data: " if self._last in (b"", b"\n") else b""
        self._after_cr = data.endswith(b"\r")
        lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        self._last = lines[-1:]
        return prefix + lines[:-1].replace(b"\n", b"\ndata: ") + self._last

    def end(self) -> bytes:
        if not self._last:
            return b"data: \n\n"
        return b"\n" if self._last == b"\n" else b"\n\n"
