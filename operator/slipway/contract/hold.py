"""How long the activator has held a request: a header that it adds when it sends the request to a pod.

The guard shows it in the request's trace. All times are milliseconds before the request was sent, so that it doesn't
matter whether two nodes' clocks agree. A client that calls a pod directly may forge the header, and then sees what it
has written in its own trace.

This file is the same on both sides of the pod: `make generate` copies it from runtime-image/slipway_runtime/contract to
operator/slipway/contract.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

HOLD_HEADER = "slipway-hold"
LONGEST = 99_999_999  # milliseconds, more than a day
_NUMBER = r"(0|[1-9]\d{0,7})"
_FORM = re.compile(
    f"arrived={_NUMBER},held={_NUMBER}(?:,woken={_NUMBER},ready={_NUMBER}(?:,created={_NUMBER},scheduled={_NUMBER})?)?",
    re.ASCII,
)


@dataclass(frozen=True, kw_only=True)
class Hold:
    arrived: int  # the request's head
    held: int  # its body was complete, and no replica was free
    woken: int | None = None  # a replica was demanded, by this request or an earlier one; None: the model was awake
    ready: int | None = None  # a replica was ready; given with `woken`
    created: int | None = None  # the pod, as far as the activator knows it
    scheduled: int | None = None  # the pod

    def __str__(self) -> str:
        words = (("arrived", self.arrived), ("held", self.held), ("woken", self.woken), ("ready", self.ready))
        pod = (("created", self.created), ("scheduled", self.scheduled))
        return ",".join(f"{name}={min(LONGEST, max(0, at))}" for name, at in (*words, *pod) if at is not None)


def parse_hold(text: str) -> Hold | None:
    """Returns None for anything that the activator wouldn't write."""
    found = _FORM.fullmatch(text)
    if not found:
        return None
    arrived, held, woken, ready, created, scheduled = (None if each is None else int(each) for each in found.groups())
    if arrived is None or held is None or held > arrived:
        return None
    return Hold(arrived=arrived, held=held, woken=woken, ready=ready, created=created, scheduled=scheduled)
