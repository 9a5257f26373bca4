"""Whether more may be read from the peer of a connection, and whether it is still there: one table."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto


class PeerState(Enum):
    READING = auto()  # what it sends is read
    PAUSED = auto()  # it isn't, because enough is unparsed; so nothing tells us if the peer goes
    HALF_CLOSED = auto()  # it has ended its side of the connection, and may still be owed a response
    ENDED = auto()  # the connection is over, after the peer had ended its side
    LOST = auto()  # the connection is over, and the peer hadn't


class PeerEvent(Enum):
    FULL = auto()  # enough is unparsed
    DRAINED = auto()  # there is room for more
    HALF_CLOSE = auto()
    GONE = auto()


TABLE: Mapping[tuple[PeerState, PeerEvent], PeerState] = {
    (PeerState.READING, PeerEvent.FULL): PeerState.PAUSED,
    (PeerState.READING, PeerEvent.HALF_CLOSE): PeerState.HALF_CLOSED,
    (PeerState.READING, PeerEvent.GONE): PeerState.LOST,
    (PeerState.PAUSED, PeerEvent.DRAINED): PeerState.READING,
    (PeerState.PAUSED, PeerEvent.HALF_CLOSE): PeerState.HALF_CLOSED,
    (PeerState.PAUSED, PeerEvent.GONE): PeerState.LOST,
    (PeerState.HALF_CLOSED, PeerEvent.GONE): PeerState.ENDED,
}
GONE = (PeerState.ENDED, PeerState.LOST)
SENDS_NO_MORE = (PeerState.HALF_CLOSED, *GONE)


def next_state(state: PeerState, event: PeerEvent) -> PeerState:
    """An event that means nothing in a state changes nothing."""
    return TABLE.get((state, event), state)
