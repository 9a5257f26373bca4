"""What is known of a peer follows from one table."""

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
def test_a_peer(events: list[PeerEvent], expected: PeerState) -> None:
    state = PeerState.READING
    for event in events:
        state = next_state(state, event)
    assert state is expected


@pytest.mark.parametrize("state", GONE)
def test_one_that_is_gone_stays_gone_and_sends_no_more(state: PeerState) -> None:
    assert state in SENDS_NO_MORE
    assert {next_state(state, event) for event in PeerEvent} == {state}
