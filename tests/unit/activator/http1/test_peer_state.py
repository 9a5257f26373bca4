"""The state of a peer, from one table of transitions."""

import pytest
from slipway.activator.http1.peer_state import GONE, SENDS_NO_MORE, PeerEvent, PeerState, next_state

HISTORIES = {
    "is read again when there is room": ([PeerEvent.FULL, PeerEvent.DRAINED], PeerState.READING),
    "is not read after its end": (
        [PeerEvent.FULL, PeerEvent.HALF_CLOSE, PeerEvent.DRAINED],
        PeerState.HALF_CLOSED,
    ),
    "has ended before the connection": ([PeerEvent.HALF_CLOSE, PeerEvent.GONE], PeerState.ENDED),
    "was lost while it was not read": ([PeerEvent.FULL, PeerEvent.GONE], PeerState.LOST),
    "is lost once": ([PeerEvent.GONE, PeerEvent.HALF_CLOSE, PeerEvent.DRAINED, PeerEvent.GONE], PeerState.LOST),
}


@pytest.mark.parametrize(("events", "expected"), HISTORIES.values(), ids=HISTORIES.keys())
def test_state_of_a_peer(events: list[PeerEvent], expected: PeerState) -> None:
    state = PeerState.READING
    for event in events:
        state = next_state(state, event)
    assert state is expected


@pytest.mark.parametrize("state", GONE)
def test_a_lost_peer_stays_lost_and_sends_no_more(state: PeerState) -> None:
    assert state in SENDS_NO_MORE
    assert {next_state(state, event) for event in PeerEvent} == {state}
