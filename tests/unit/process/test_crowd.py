"""Who may have a connection, and who has to make room."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from slipway.process.addresses import client_of
from slipway.process.connection_limits import ConnectionLimits, ConnectionState, Counted, Limit


class Hall:
    """One port, and all others."""

    def __init__(self, *, port: int = 8, in_all: int = 100) -> None:
        self.crowd = ConnectionLimits(in_all)
        self.port = self.another_port(most=port)
        self.closed: list[str] = []

    def another_port(self, namespace: str = "chat", *, most: int = 1000) -> Sequence[Limit]:
        return self.crowd.places(namespace, most)

    def enter(self, address: str, *, port: Sequence[Limit] | None = None) -> Counted | None:
        return self.crowd.enter(port or self.port, address, close=lambda: self.closed.append(address))

    def fill(
        self, address: str, number: int, state: ConnectionState, *, port: Sequence[Limit] | None = None
    ) -> list[Counted]:
        guests: list[Counted] = []
        for _ in range(number):
            if guest := self.enter(address, port=port):
                guest.turn(state)
                guests.append(guest)
        return guests


def test_one_address_gets_three_quarters_of_a_port_if_it_is_alone() -> None:
    assert len(Hall().fill("10.0.0.1", 8, ConnectionState.BUSY)) == 6


def test_a_silent_connection_makes_room_for_the_next_one_of_its_address() -> None:
    hall = Hall()
    first, *_ = hall.fill("10.0.0.1", 6, ConnectionState.SILENT)
    assert hall.enter("10.0.0.1")
    assert hall.closed == ["10.0.0.1"]
    assert first.places == ()


def test_at_the_limit_the_address_with_the_most_silent_connections_makes_room() -> None:
    hall = Hall()
    hall.fill("10.0.0.1", 6, ConnectionState.SILENT)
    hall.fill("10.0.0.2", 1, ConnectionState.SILENT)
    hall.fill("10.0.0.3", 1, ConnectionState.SILENT)
    assert hall.enter("10.0.0.4")
    assert hall.closed == ["10.0.0.1"]


def test_a_busy_connection_makes_room_for_no_other() -> None:
    hall = Hall(port=2)
    hall.fill("10.0.0.1", 1, ConnectionState.BUSY)
    hall.fill("10.0.0.2", 1, ConnectionState.BUSY)
    assert hall.enter("10.0.0.3") is None
    assert not hall.closed


def test_several_idle_connections_make_room_for_another_address_but_not_for_their_own() -> None:
    hall = Hall(port=4)
    hall.fill("10.0.0.1", 3, ConnectionState.IDLE)
    assert hall.enter("10.0.0.1") is None
    hall.fill("10.0.0.2", 1, ConnectionState.BUSY)
    assert hall.enter("10.0.0.3")
    assert hall.closed == ["10.0.0.1"]


def test_all_ports_share_a_limit() -> None:
    hall = Hall(in_all=2)
    hall.fill("10.0.0.1", 2, ConnectionState.SILENT)
    assert hall.enter("10.0.0.2", port=hall.another_port())
    assert hall.crowd.all.taken <= 2


def test_one_address_gets_half_of_all_connections_if_it_is_alone() -> None:
    hall = Hall()
    ports = [hall.another_port(f"space {each}") for each in range(10)]
    assert sum(len(hall.fill("10.0.0.1", 10, ConnectionState.BUSY, port=port)) for port in ports) == 50


@pytest.mark.parametrize("state", ConnectionState)
def test_one_port_leaves_connections_to_the_others_of_its_namespace(state: ConnectionState) -> None:
    hall = Hall(port=100)
    assert sum(len(hall.fill(f"10.0.1.{each}", 1, state)) for each in range(100)) >= 66
    assert hall.port[0].taken == 66
    assert hall.enter("10.0.0.2", port=hall.another_port())


@pytest.mark.parametrize("state", ConnectionState)
def test_one_namespace_leaves_connections_to_others_whatever_its_number_of_ports_and_addresses(
    state: ConnectionState,
) -> None:
    hall = Hall()
    ports = [hall.another_port("greedy") for _ in range(6)]
    for each in range(200):
        hall.fill(f"10.0.1.{each}", 1, state, port=ports[each % 6])
    assert hall.crowd.all.taken == 75
    assert len(hall.fill("10.0.0.2", 10, ConnectionState.BUSY)) == 6  # three quarters of what its port takes
    assert hall.crowd.all.taken == 81


def test_a_busy_client_gets_further_connections_despite_silent_ones_of_others() -> None:
    hall = Hall(port=100)
    hall.fill("10.0.0.2", 1, ConnectionState.BUSY)
    for each in range(200):
        hall.fill(f"10.0.1.{each}", 1, ConnectionState.SILENT, port=hall.another_port(f"space {each}"))
    assert hall.crowd.all.is_full()
    assert len(hall.fill("10.0.0.2", 20, ConnectionState.BUSY)) == 20


def test_namespaces_without_a_port_are_forgotten() -> None:
    hall = Hall()
    hall.another_port("gone")
    assert list(hall.crowd._namespaces) == ["chat"]


def test_closed_connections_do_not_count() -> None:
    hall = Hall()
    for guest in hall.fill("10.0.0.1", 6, ConnectionState.BUSY):
        guest.leave()
        guest.leave()
        guest.turn(ConnectionState.IDLE)
    assert [place.taken for place in hall.port] == [0, 0, 0]
    assert hall.crowd.all.silent == 0


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("10.0.0.1", "10.0.0.2", False),
        ("2001:db8::1", "2001:db8::2:3", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("", "somewhere", False),
    ],
)
def test_an_ipv6_network_is_one_address(one: str, other: str, alike: bool) -> None:
    assert (client_of(one) == client_of(other)) == alike
