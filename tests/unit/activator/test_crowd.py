"""Who may have a connection, and who has to make room."""

from __future__ import annotations

import pytest
from slipway.activator import open_files
from slipway.activator.addresses import client_of
from slipway.activator.crowd import Crowd, Guest, Place, State


class Hall:
    """One port, and all others."""

    def __init__(self, *, port: int = 8, in_all: int = 100) -> None:
        self.crowd, self.port = Crowd(in_all), Place(port)
        self.closed: list[str] = []

    def enter(self, address: str, *, port: Place | None = None) -> Guest | None:
        return self.crowd.enter(port or self.port, address, close=lambda: self.closed.append(address))

    def fill(self, address: str, number: int, state: State) -> list[Guest]:
        guests: list[Guest] = []
        for _ in range(number):
            if guest := self.enter(address):
                guest.turn(state)
                guests.append(guest)
        return guests


def test_one_address_gets_three_quarters_if_it_is_alone() -> None:
    assert len(Hall().fill("10.0.0.1", 8, State.BUSY)) == 6


def test_of_one_address_those_that_say_nothing_make_room_for_its_next() -> None:
    hall = Hall()
    first, *_ = hall.fill("10.0.0.1", 6, State.SILENT)
    assert hall.enter("10.0.0.1")
    assert hall.closed == ["10.0.0.1"]
    assert first.places == ()


def test_at_the_limit_the_address_with_most_that_say_nothing_makes_room() -> None:
    hall = Hall()
    hall.fill("10.0.0.1", 6, State.SILENT)
    hall.fill("10.0.0.2", 1, State.SILENT)
    hall.fill("10.0.0.3", 1, State.SILENT)
    assert hall.enter("10.0.0.4")
    assert hall.closed == ["10.0.0.1"]


def test_who_is_served_makes_room_for_nobody() -> None:
    hall = Hall(port=2)
    hall.fill("10.0.0.1", 1, State.BUSY)
    hall.fill("10.0.0.2", 1, State.BUSY)
    assert hall.enter("10.0.0.3") is None
    assert not hall.closed


def test_who_has_several_that_are_idle_makes_room_for_another_but_not_for_more_of_its_own() -> None:
    hall = Hall(port=4)
    hall.fill("10.0.0.1", 3, State.IDLE)
    assert hall.enter("10.0.0.1") is None
    hall.fill("10.0.0.2", 1, State.BUSY)
    assert hall.enter("10.0.0.3")
    assert hall.closed == ["10.0.0.1"]


def test_all_ports_have_a_limit_together() -> None:
    hall = Hall(in_all=2)
    hall.fill("10.0.0.1", 2, State.SILENT)
    assert hall.enter("10.0.0.2", port=Place(8))
    assert hall.crowd.all.taken <= 2


def test_who_has_left_counts_no_more() -> None:
    hall = Hall()
    for guest in hall.fill("10.0.0.1", 6, State.BUSY):
        guest.leave()
        guest.leave()
        guest.turn(State.IDLE)
    assert (hall.port.taken, hall.crowd.all.taken) == (0, 0)


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


@pytest.mark.parametrize(
    ("soft", "hard", "fitting", "raised"),
    [
        (1024, 1 << 20, 8192, 1 << 20),
        (1 << 20, 1 << 20, 8192, None),
        (1024, 4096, 1920, 4096),
        (-1, -1, 8192, None),
        (100, 100, 1, None),
    ],
)
def test_there_are_no_more_connections_than_files_can_be_open(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, fitting: int, raised: int | None
) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr("resource.getrlimit", lambda which: (soft, hard))
    monkeypatch.setattr("resource.setrlimit", lambda which, limits: told.append(limits))
    assert open_files.connections(8192) == fitting
    assert told == ([(raised, hard)] if raised else [])


def test_where_the_limit_can_not_be_raised_it_counts_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(which: int, limits: tuple[int, int]) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr("resource.getrlimit", lambda which: (1024, 1 << 20))
    monkeypatch.setattr("resource.setrlimit", refuse)
    assert open_files.connections(8192) == (1024 - 256) // 2
