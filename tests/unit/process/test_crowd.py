"""Which clients get a connection, and whose connections are closed to make room."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from slipway.process.addresses import client_of
from slipway.process.connection_limits import ConnectionLimits, ConnectionState, Counted, Limit


class PortLimits:
    """One port with its limits, and the ports next to it."""

    def __init__(self, *, port: int = 8, in_all: int = 100) -> None:
        self.shared = ConnectionLimits(in_all)
        self.port = self.another_port(most=port)
        self.closed: list[str] = []

    def another_port(self, namespace: str = "chat", *, most: int = 1000) -> Sequence[Limit]:
        return self.shared.places(namespace, most)

    def enter(self, address: str, *, port: Sequence[Limit] | None = None) -> Counted | None:
        return self.shared.enter(port or self.port, address, close=lambda: self.closed.append(address))

    def fill(
        self, address: str, number: int, state: ConnectionState, *, port: Sequence[Limit] | None = None
    ) -> list[Counted]:
        connections: list[Counted] = []
        for _ in range(number):
            if connection := self.enter(address, port=port):
                connection.turn(state)
                connections.append(connection)
        return connections


def test_one_address_gets_three_quarters_of_a_port_if_it_is_alone() -> None:
    assert len(PortLimits().fill("10.0.0.1", 8, ConnectionState.BUSY)) == 6


def test_a_silent_connection_makes_room_for_the_next_one_of_its_address() -> None:
    limits = PortLimits()
    first, *_ = limits.fill("10.0.0.1", 6, ConnectionState.SILENT)
    assert limits.enter("10.0.0.1")
    assert limits.closed == ["10.0.0.1"]
    assert first.places == ()


def test_at_the_limit_the_address_with_the_most_silent_connections_makes_room() -> None:
    limits = PortLimits()
    limits.fill("10.0.0.1", 6, ConnectionState.SILENT)
    limits.fill("10.0.0.2", 1, ConnectionState.SILENT)
    limits.fill("10.0.0.3", 1, ConnectionState.SILENT)
    assert limits.enter("10.0.0.4")
    assert limits.closed == ["10.0.0.1"]


def test_a_busy_connection_makes_room_for_no_other() -> None:
    limits = PortLimits(port=2)
    limits.fill("10.0.0.1", 1, ConnectionState.BUSY)
    limits.fill("10.0.0.2", 1, ConnectionState.BUSY)
    assert limits.enter("10.0.0.3") is None
    assert not limits.closed


def test_several_idle_connections_make_room_for_another_address_but_not_for_their_own() -> None:
    limits = PortLimits(port=4)
    limits.fill("10.0.0.1", 3, ConnectionState.IDLE)
    assert limits.enter("10.0.0.1") is None
    limits.fill("10.0.0.2", 1, ConnectionState.BUSY)
    assert limits.enter("10.0.0.3")
    assert limits.closed == ["10.0.0.1"]


def test_all_ports_share_a_limit() -> None:
    limits = PortLimits(in_all=2)
    limits.fill("10.0.0.1", 2, ConnectionState.SILENT)
    assert limits.enter("10.0.0.2", port=limits.another_port())
    assert limits.shared.all.taken <= 2


def test_one_address_gets_half_of_all_connections_if_it_is_alone() -> None:
    limits = PortLimits()
    ports = [limits.another_port(f"space {each}") for each in range(10)]
    assert sum(len(limits.fill("10.0.0.1", 10, ConnectionState.BUSY, port=port)) for port in ports) == 50


@pytest.mark.parametrize("state", ConnectionState)
def test_one_port_leaves_connections_to_the_others_of_its_namespace(state: ConnectionState) -> None:
    limits = PortLimits(port=100)
    assert sum(len(limits.fill(f"10.0.1.{each}", 1, state)) for each in range(100)) >= 66
    assert limits.port[0].taken == 66
    assert limits.enter("10.0.0.2", port=limits.another_port())


@pytest.mark.parametrize("state", ConnectionState)
def test_one_namespace_leaves_connections_to_others_whatever_its_number_of_ports_and_addresses(
    state: ConnectionState,
) -> None:
    limits = PortLimits()
    ports = [limits.another_port("greedy") for _ in range(6)]
    for each in range(200):
        limits.fill(f"10.0.1.{each}", 1, state, port=ports[each % 6])
    assert limits.shared.all.taken == 75
    assert len(limits.fill("10.0.0.2", 10, ConnectionState.BUSY)) == 6  # three quarters of the limit of its port
    assert limits.shared.all.taken == 81


def test_a_busy_client_gets_further_connections_despite_silent_ones_of_others() -> None:
    limits = PortLimits(port=100)
    limits.fill("10.0.0.2", 1, ConnectionState.BUSY)
    for each in range(200):
        limits.fill(f"10.0.1.{each}", 1, ConnectionState.SILENT, port=limits.another_port(f"space {each}"))
    assert limits.shared.all.is_full()
    assert len(limits.fill("10.0.0.2", 20, ConnectionState.BUSY)) == 20


def test_namespaces_without_a_port_are_forgotten() -> None:
    limits = PortLimits()
    limits.another_port("gone")
    assert list(limits.shared._namespaces) == ["chat"]


def test_closed_connections_do_not_count() -> None:
    limits = PortLimits()
    for connection in limits.fill("10.0.0.1", 6, ConnectionState.BUSY):
        connection.leave()
        connection.leave()
        connection.turn(ConnectionState.IDLE)
    assert [place.taken for place in limits.port] == [0, 0, 0]
    assert limits.shared.all.silent == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.2", False),
        ("2001:db8::1", "2001:db8::2:3", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("", "somewhere", False),
    ],
)
def test_an_ipv6_network_is_one_address(one: str, other: str, same: bool) -> None:
    assert (client_of(one) == client_of(other)) == same
