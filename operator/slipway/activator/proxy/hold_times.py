"""The header by which a replica gets to know how long a request was held, for the request's trace. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from slipway.activator.http1.heads import RequestHead
from slipway.activator.shared.replica import Replica
from slipway.contract.hold import HOLD_HEADER, Hold

HOLD = HOLD_HEADER.encode()


class Wake(NamedTuple):
    """A wake that has succeeded, by the event loop's clock."""

    woken: float  # the first request that found no replica, by which one was demanded
    ready: float


def hold_of(replica: Replica, *, arrived: float, held: float, wake: Wake | None, now: float, wall: datetime) -> Hold:
    """`now` and `wall` are the same moment; `wake`: the last one of the model."""

    def ago(moment: float) -> int:
        return round((now - moment) * 1000)

    if wake is None or wake.ready < held:
        return Hold(arrived=ago(arrived), held=ago(held))
    found = Hold(arrived=ago(arrived), held=ago(held), woken=ago(wake.woken), ready=ago(wake.ready))
    if replica.created is None or replica.scheduled is None:
        return found
    created, scheduled = (round((wall - each).total_seconds() * 1000) for each in (replica.created, replica.scheduled))
    return replace(found, created=created, scheduled=scheduled)


def with_hold(head: RequestHead, hold: Hold | None) -> RequestHead:
    """The head for a replica. What a client has written about a hold isn't passed on."""
    headers = [header for header in head.headers if header[0] != HOLD]
    if hold:
        headers.append((HOLD, str(hold).encode()))
    return head if hold is None and len(headers) == len(head.headers) else head._replace(headers=headers)
