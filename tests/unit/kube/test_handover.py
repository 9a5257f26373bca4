"""Calls from another thread run in the event loop in their order, in portions so small that other tasks don't wait."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading

import pytest
from slipway.kube.handover import LONGEST_PORTION, Handover

MANY = 300


class Clock:
    """Advances by a quarter of a portion at each reading, which is once per call."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += LONGEST_PORTION / 4
        return self.now


async def taken_per_iteration(arrivals: Handover, taken: list[int]) -> list[int]:
    """Returns how many calls ran in each iteration of the loop."""
    totals = [0]
    async with asyncio.timeout(10):
        while len(taken) < MANY:
            await asyncio.sleep(0)
            totals.append(len(taken))
    return [after - before for before, after in itertools.pairwise(totals)]


async def test_a_backlog_is_processed_in_small_portions_between_which_other_tasks_run() -> None:
    arrivals, taken = Handover(Clock()), list[int]()

    def put_all() -> None:
        for each in range(MANY):
            arrivals.put(taken.append, each)

    thread = threading.Thread(target=put_all)
    thread.start()
    thread.join()  # this blocks the loop meanwhile
    assert max(await taken_per_iteration(arrivals, taken)) == 4
    assert taken == [*range(MANY)]


async def test_calls_that_arrive_during_a_portion_run_after_it() -> None:
    arrivals, taken = Handover(), list[int]()
    for each in range(MANY):
        arrivals.put(lambda number: arrivals.put(taken.append, number), each)
    await taken_per_iteration(arrivals, taken)
    assert taken == [*range(MANY)]


async def test_a_call_that_fails_is_logged_and_the_next_ones_run(caplog: pytest.LogCaptureFixture) -> None:
    arrivals, taken = Handover(), list[int]()
    arrivals.put(int, "odd")
    arrivals.put(taken.append, 1)
    await arrivals.all_taken()
    assert taken == [1]
    assert [each.levelno for each in caplog.records] == [logging.ERROR]


async def test_waiting_for_all_calls_does_not_wait_for_later_ones() -> None:
    arrivals, taken = Handover(Clock()), list[int]()

    def put_again() -> None:
        taken.append(1)
        arrivals.put(put_again)

    arrivals.put(put_again)
    async with asyncio.timeout(10):
        await arrivals.all_taken()
    assert taken


def test_calls_after_the_end_of_the_loop_are_dropped() -> None:
    async def new_handover() -> Handover:
        return Handover()

    asyncio.run(new_handover()).put(print, "late")
