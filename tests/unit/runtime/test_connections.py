"""How many connections the engine's web server accepts, and which ones it closes to make room."""

from __future__ import annotations

import resource
import subprocess
import sys
from dataclasses import dataclass

import pytest
from slipway_runtime.engines.connection import LEAST, OPEN_FILES, room
from slipway_runtime.engines.crowd import Crowd


@dataclass(eq=False)
class FakeConnection:
    address: str
    is_gone: bool = False

    def leave(self) -> None:
        self.is_gone = True

    def look(self, now: float) -> None:
        """It has no request waiting."""


def connections(crowd: Crowd, *addresses: str) -> list[FakeConnection]:
    created = [FakeConnection(address) for address in addresses]
    assert all(crowd.enter(guest) for guest in created)
    return created


@pytest.mark.parametrize(
    ("files", "max_in_flight", "most"),
    [
        (OPEN_FILES, 64, LEAST),
        (OPEN_FILES, 4096, 8192),
        (1024, 64, 448),  # as many may have to be accepted before they are closed
        (10, 64, 16),
    ],
    ids=["many files", "many requests", "few files", "very few files"],
)
def test_there_is_room_for_the_requests_in_flight_as_far_as_open_files_allow(
    files: int, max_in_flight: int, most: int
) -> None:
    assert room(files, max_in_flight) == most


def test_the_process_raises_its_limit_of_open_files_if_it_may() -> None:
    code = (
        "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (256, r.getrlimit(r.RLIMIT_NOFILE)[1])); "
        "from slipway_runtime.engines.connection import open_files; print(open_files(), *r.getrlimit(r.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found, soft, hard = map(int, done.stdout.split())
    assert found == soft == min(OPEN_FILES, hard if hard != resource.RLIM_INFINITY else OPEN_FILES)


def test_the_connection_that_has_been_silent_longest_is_closed() -> None:
    crowd = Crowd(4)
    first, second, third, _ = connections(crowd, "a", "b", "c", "d")
    crowd.speaks(first)
    crowd.is_silent(first)
    crowd.speaks(second)
    connections(crowd, "e")
    assert [first.is_gone, second.is_gone, third.is_gone] == [False, False, True]


def test_a_connection_with_a_request_is_never_closed_for_another() -> None:
    crowd = Crowd(4)
    for guest in connections(crowd, "a", "b", "c", "d"):
        crowd.speaks(guest)
    assert not crowd.enter(FakeConnection("e"))
    assert len(crowd) == 4


def test_an_address_that_has_its_share_makes_room_among_its_own_connections() -> None:
    crowd = Crowd(4)
    other, first, *_ = connections(crowd, "b", "a", "a", "a")
    connections(crowd, "a")
    assert (first.is_gone, other.is_gone) == (True, False)


def test_the_pod_itself_is_admitted_when_strangers_take_all_connections() -> None:
    crowd = Crowd(4)
    for guest in connections(crowd, "a", "b", "c", "d"):
        crowd.speaks(guest)
    assert crowd.enter(FakeConnection("127.0.0.1"))
    assert crowd.enter(FakeConnection("::1"))


def test_a_closed_connection_frees_its_place_and_is_removed_once() -> None:
    crowd = Crowd(4)
    first, *others = connections(crowd, "a", "a", "a")
    crowd.forget(first)
    crowd.forget(first)
    assert len(crowd) == 2
    connections(crowd, "a")
    assert not any(each.is_gone for each in others)
