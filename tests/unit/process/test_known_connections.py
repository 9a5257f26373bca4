"""Who keeps a connection, of those who belong there."""

from __future__ import annotations

from slipway.process.known_connections import KnownConnection, KnownConnections

MOST = 8
KEDA = "10.0.0.1"


class Port:
    """Notes who had to make room."""

    def __init__(self) -> None:
        self.regulars = KnownConnections(MOST)
        self.gone: list[str] = []

    def open(self, name: str, *namespaces: str, address: str = KEDA) -> KnownConnection:
        regular = self.regulars.enter(address, close=lambda: self.gone.append(name))
        for namespace in namespaces:
            self.regulars.came_for(regular, namespace)
        return regular

    def open_many(self, number: int, *namespaces: str) -> None:
        for each in range(number):
            self.open(str(each), *namespaces)


def test_as_long_as_there_is_room_all_stay() -> None:
    port = Port()
    port.open_many(MOST, "evil")
    assert port.gone == []


def test_where_there_is_none_the_oldest_goes_of_whoever_has_most() -> None:
    port = Port()
    port.open("before", "chat")
    port.open_many(MOST + 1, "evil")
    port.open("anew", "chat")
    assert port.gone == ["0", "1", "2"]


def test_what_was_asked_for_nothing_that_is_served_is_one_of_its_address() -> None:
    port = Port()
    port.open("replica", address="10.0.0.2")
    port.open("served", "chat")
    port.open_many(2 * MOST)
    assert port.gone == [str(each) for each in range(MOST + 2)]


def test_one_that_has_just_come_is_not_the_first_to_go() -> None:
    port = Port()
    port.open_many(MOST, "evil")
    port.open("anew")
    port.open_many(3, "evil")
    assert port.gone == ["0", "1", "2", "3"]


def test_what_several_share_stays_for_the_one_who_has_no_other() -> None:
    port = Port()
    port.open("shared", "evil", "chat", "evil")
    port.open_many(3 * MOST, "evil")
    assert "shared" not in port.gone


def test_who_has_left_counts_no_more_and_has_left_once() -> None:
    port = Port()
    for left in [port.open(str(each), "evil") for each in range(MOST)]:
        port.regulars.leave(left)
        port.regulars.leave(left)
        port.regulars.came_for(left, "chat")
    assert not port.regulars.is_full
    port.open("first", "chat")
    port.open("second", "chat")
    port.open_many(MOST - 1, "evil")
    assert port.gone == ["0"]
