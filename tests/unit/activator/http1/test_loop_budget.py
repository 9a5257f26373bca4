"""How much is done between two polls of the event loop for its sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Generator

from slipway.activator.http1.loop_budget import MOST, LoopBudget, in_steps


async def count_polls(counted: list[int]) -> None:
    while True:
        counted.append(0)
        await asyncio.sleep(0)


async def run_steps(budget: LoopBudget, done: list[int], counted: list[int], name: int, work: int) -> None:
    await budget.turn(work)
    budget.spend(work)
    done.append(name)
    counted[-1] += work


async def most_work_between_polls(number: int, work: int) -> tuple[int, list[int]]:
    """The most work between two polls, and the order in which it was done."""
    budget, done, counted = LoopBudget(asyncio.get_running_loop()), list[int](), [0]
    poller = asyncio.create_task(count_polls(counted))
    await asyncio.gather(*(run_steps(budget, done, counted, name, work) for name in range(number)))
    poller.cancel()
    return max(counted), done


async def test_between_two_polls_the_work_is_bounded() -> None:
    for number, work in ((100, MOST // 4), (20, MOST), (1000, 3)):
        most, done = await most_work_between_polls(number, work)
        assert most <= 2 * MOST + work
        assert done == list(range(number))


async def test_a_task_that_stops_waiting_does_not_cost_others_their_turn() -> None:
    budget, done = LoopBudget(asyncio.get_running_loop()), list[int]()
    budget.spend(MOST)
    tasks = [asyncio.create_task(run_steps(budget, done, [0], name, MOST)) for name in range(4)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert done == [0, 2, 3]


async def test_others_are_served_between_two_steps_and_the_outcome_is_returned() -> None:
    counted = [0]

    def work() -> Generator[None, None, str]:
        for _ in range(5):
            counted[-1] += 1
            yield
        return "done"

    poller = asyncio.create_task(count_polls(counted))
    assert await in_steps(work()) == "done"
    poller.cancel()
    assert max(counted) == 1
