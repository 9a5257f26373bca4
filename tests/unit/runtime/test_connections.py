"""How many connections the engine's web server takes, and whom it turns away for whom."""

from __future__ import annotations

import resource
import subprocess
import sys
from dataclasses import dataclass

import pytest
from slipway_runtime.engines.connection import LEAST, OPEN_FILES, room
from slipway_runtime.engines.crowd import Crowd


@dataclass(eq=False)
class Guest:
    address: str
    is_gone: bool = False

    def leave(self) -> None:
        self.is_gone = True

    def look(self, now: float) -> None:
        """It keeps nobody waiting."""


def guests(crowd: Crowd, *addresses: str) -> list[Guest]:
    all_of = [Guest(address) for address in addresses]
    assert all(crowd.enter(guest) for guest in all_of)
    return all_of


@pytest.mark.parametrize(
    ("files", "max_in_flight", "most"),
    [
        (OPEN_FILES, 64, LEAST),
        (OPEN_FILES, 4096, 8192),
        (1024, 64, 448),  # as many may have to be accepted to be turned away
        (10, 64, 16),
    ],
    ids=["many files", "many requests", "few files", "hardly any files"],
)
def test_there_is_room_for_what_may_be_in_flight_as_far_as_the_open_files_allow(
    files: int, max_in_flight: int, most: int
) -> None:
    assert room(files, max_in_flight) == most


def test_the_process_takes_more_open_files_than_it_was_given_if_it_may() -> None:
    code = (
        "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (256, r.getrlimit(r.RLIMIT_NOFILE)[1])); "
        "from slipway_runtime.engines.connection import open_files; print(open_files(), *r.getrlimit(r.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found, soft, hard = map(int, done.stdout.split())
    assert found == soft == min(OPEN_FILES, hard if hard != resource.RLIM_INFINITY else OPEN_FILES)


def test_the_one_that_has_been_silent_longest_makes_room() -> None:
    crowd = Crowd(4)
    first, second, third, _ = guests(crowd, "a", "b", "c", "d")
    crowd.speaks(first)
    crowd.is_silent(first)
    crowd.speaks(second)
    guests(crowd, "e")
    assert [first.is_gone, second.is_gone, third.is_gone] == [False, False, True]


def test_whoever_is_being_answered_is_sent_away_for_nobody() -> None:
    crowd = Crowd(4)
    for guest in guests(crowd, "a", "b", "c", "d"):
        crowd.speaks(guest)
    assert not crowd.enter(Guest("e"))
    assert len(crowd) == 4


def test_an_address_that_has_its_share_makes_room_among_its_own() -> None:
    crowd = Crowd(4)
    other, first, *_ = guests(crowd, "b", "a", "a", "a")
    guests(crowd, "a")
    assert (first.is_gone, other.is_gone) == (True, False)


def test_the_pod_itself_is_let_in_when_strangers_fill_the_house() -> None:
    crowd = Crowd(4)
    for guest in guests(crowd, "a", "b", "c", "d"):
        crowd.speaks(guest)
    assert crowd.enter(Guest("127.0.0.1"))
    assert crowd.enter(Guest("::1"))


def test_who_has_left_leaves_a_place_and_is_forgotten_once() -> None:
    crowd = Crowd(4)
    first, *others = guests(crowd, "a", "a", "a")
    crowd.forget(first)
    crowd.forget(first)
    assert len(crowd) == 2
    guests(crowd, "a")
    assert not any(each.is_gone for each in others)
