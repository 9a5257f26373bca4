"""Whether more may be read from the peer of a connection, and whether it is still there: one table."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, auto  # an IntEnum is hashed in C, which matters for each request


class PeerState(IntEnum):
    READING = auto()  # what it sends is read
    PAUSED = auto()  # it isn't, because enough is unparsed; so we aren't notified if the peer goes
    HALF_CLOSED = auto()  # it has ended its side of the connection, and may still be owed a response
    ENDED = auto()  # the connection is over, after the peer had ended its side
    LOST = auto()  # the connection is over, and the peer hadn't


READING, PAUSED, HALF_CLOSED, ENDED, LOST = PeerState
"""To read a member of an enum's class takes four times as long as to read a constant (Python 3.11)."""


class PeerEvent(IntEnum):
    FULL = auto()  # enough is unparsed
    DRAINED = auto()  # there is room for more
    HALF_CLOSE = auto()
    GONE = auto()


TABLE: Mapping[tuple[PeerState, PeerEvent], PeerState] = {
    (READING, PeerEvent.FULL): PAUSED,
    (READING, PeerEvent.HALF_CLOSE): HALF_CLOSED,
    (READING, PeerEvent.GONE): LOST,
    (PAUSED, PeerEvent.DRAINED): READING,
    (PAUSED, PeerEvent.HALF_CLOSE): HALF_CLOSED,
    (PAUSED, PeerEvent.GONE): LOST,
    (HALF_CLOSED, PeerEvent.GONE): ENDED,
}
GONE = (ENDED, LOST)
SENDS_NO_MORE = (HALF_CLOSED, *GONE)


def next_state(state: PeerState, event: PeerEvent) -> PeerState:
    """An event that means nothing in a state changes nothing."""
    return TABLE.get((state, event), state)
