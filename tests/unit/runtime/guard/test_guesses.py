"""A client that guesses keys learns little, and the memory for guesses is bounded."""

from __future__ import annotations

import pytest
from slipway_runtime.guard.guesses import AT_ONCE, CLIENTS, PER_SECOND, PROVEN, Guesses, client_of


def test_a_client_has_a_burst_of_guesses_and_then_one_at_a_time() -> None:
    guesses = Guesses()
    for number in range(AT_ONCE):
        assert guesses.wait("mallory", b"%d" % number, 100.0) == 0
        guesses.was_wrong("mallory", b"%d" % number, 100.0)
    assert guesses.wait("mallory", b"next", 100.0) == 1 / PER_SECOND
    assert guesses.wait("mallory", b"next", 100.0 + 1 / PER_SECOND) == 0
    assert guesses.wait("alice", b"next", 100.0) == 0
    guesses.was_wrong("mallory", b"next", 100.0 + 1 / PER_SECOND)
    assert guesses.wait("mallory", b"next", 100.0 + 1 / PER_SECOND) == 1 / PER_SECOND


def test_a_quiet_client_gets_its_burst_back_and_no_more() -> None:
    guesses = Guesses()
    for now in (0.0, 1e6):
        for _ in range(AT_ONCE):
            assert guesses.wait("mallory", b"key", now) == 0
            guesses.was_wrong("mallory", b"key", now)
        assert guesses.wait("mallory", b"key", now) > 0


def test_a_key_that_is_no_longer_valid_gets_no_answer_either() -> None:
    guesses = Guesses()
    guesses.was_valid("gateway", b"key")
    for _ in range(AT_ONCE):
        guesses.was_wrong("gateway", b"other", 0.0)
    assert guesses.wait("gateway", b"key", 0.0) == 0
    guesses.was_wrong("gateway", b"key", 0.0)
    assert guesses.wait("gateway", b"key", 0.0) > 0


def test_memory_for_guesses_is_bounded_however_many_clients_guess() -> None:
    guesses = Guesses()
    for number in range(3 * PROVEN):
        guesses.was_wrong(str(number), b"key", 0.0)
        guesses.was_valid(str(number), b"key")
    assert (len(guesses._good_again), len(guesses._proven)) == (CLIENTS, PROVEN)


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_a_client_is_an_address_or_an_assigned_ipv6_network(address: str, client: str) -> None:
    assert client_of(address) == client
