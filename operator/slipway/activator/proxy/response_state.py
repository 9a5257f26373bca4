"""How far the response to one client is, and what may follow: one table, and nothing that writes."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, auto  # an IntEnum is hashed in C, which matters for each request


class ResponseState(IntEnum):
    NOTHING_SENT = auto()
    HEARTBEATS = auto()  # an event stream has started, and all that is in it are comments of ours
    BODY = auto()  # the head of the replica's response is sent; its body follows, if it has one
    EVENTS = auto()  # the same, of a response that is an event stream
    ONE_EVENT = auto()  # the replica's response isn't an event stream, and follows our comments as one event
    COMPLETE = auto()
    BROKEN_OFF = auto()  # the client sees that the response is incomplete


class ResponseEvent(IntEnum):
    HEARTBEAT = auto()  # the client is shown that its request still waits
    OWN_RESPONSE = auto()  # the activator itself responds
    EVENT_STREAM = auto()  # the head of a replica's response is there, which is an event stream
    OTHER_RESPONSE = auto()  # the head of any other response is there
    END = auto()  # the replica's response is complete
    BREAK_OFF = auto()  # the rest of it will not come


S, E = ResponseState, ResponseEvent
NOTHING_SENT, HEARTBEATS = S.NOTHING_SENT, S.HEARTBEATS
"""To read a member of an enum's class takes four times as long as to read a constant (Python 3.11)."""

TABLE: Mapping[tuple[ResponseState, ResponseEvent], ResponseState] = {
    (S.NOTHING_SENT, E.HEARTBEAT): S.HEARTBEATS,
    (S.NOTHING_SENT, E.OWN_RESPONSE): S.COMPLETE,
    (S.NOTHING_SENT, E.EVENT_STREAM): S.EVENTS,
    (S.NOTHING_SENT, E.OTHER_RESPONSE): S.BODY,
    (S.HEARTBEATS, E.HEARTBEAT): S.HEARTBEATS,
    (S.HEARTBEATS, E.OWN_RESPONSE): S.COMPLETE,  # as an event of the stream
    (S.HEARTBEATS, E.EVENT_STREAM): S.EVENTS,
    (S.HEARTBEATS, E.OTHER_RESPONSE): S.ONE_EVENT,
    (S.BODY, E.END): S.COMPLETE,
    (S.BODY, E.BREAK_OFF): S.BROKEN_OFF,
    (S.EVENTS, E.END): S.COMPLETE,
    (S.EVENTS, E.BREAK_OFF): S.BROKEN_OFF,
    (S.ONE_EVENT, E.END): S.COMPLETE,
    (S.ONE_EVENT, E.BREAK_OFF): S.BROKEN_OFF,
}


class ImpossibleResponseError(RuntimeError):
    """A second response, or an event after the end: a bug. What was sent must not be mixed with it."""


def next_state(state: ResponseState, event: ResponseEvent) -> ResponseState:
    try:
        return TABLE[state, event]
    except KeyError:
        raise ImpossibleResponseError(f"{event.name} can't follow {state.name}") from None
