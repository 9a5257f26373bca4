"""Which connections of known clients are kept when there are too many."""

from __future__ import annotations

from slipway.process.known_connections import KnownConnection, KnownConnections

MOST = 8
KEDA = "10.0.0.1"


class Port:
    """A port that records which connections it closed."""

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


def test_while_there_is_room_all_connections_stay() -> None:
    port = Port()
    port.open_many(MOST, "evil")
    assert port.gone == []


def test_without_room_the_oldest_connection_of_the_namespace_with_most_is_closed() -> None:
    port = Port()
    port.open("before", "chat")
    port.open_many(MOST + 1, "evil")
    port.open("anew", "chat")
    assert port.gone == ["0", "1", "2"]


def test_a_connection_that_has_asked_for_no_namespace_counts_for_its_address() -> None:
    port = Port()
    port.open("replica", address="10.0.0.2")
    port.open("served", "chat")
    port.open_many(2 * MOST)
    assert port.gone == [str(each) for each in range(MOST + 2)]


def test_a_new_connection_is_not_the_first_to_be_closed() -> None:
    port = Port()
    port.open_many(MOST, "evil")
    port.open("anew")
    port.open_many(3, "evil")
    assert port.gone == ["0", "1", "2", "3"]


def test_a_shared_connection_stays_for_the_namespace_that_has_no_other() -> None:
    port = Port()
    port.open("shared", "evil", "chat", "evil")
    port.open_many(3 * MOST, "evil")
    assert "shared" not in port.gone


def test_closed_connections_no_longer_count_and_can_be_closed_twice() -> None:
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
