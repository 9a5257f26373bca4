"""Changed deployments are refreshed soon, once for all that has changed, and round-robin."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from slipway.activator.tracking.refresh_queue import LONGEST_REST, REST, RefreshQueue
from slipway.api.model_key import ModelKey
from support.fakes import virtual_time

LLAMA, GEMMA = ModelKey("chat", "llama"), ModelKey("chat", "gemma")
MANY = [ModelKey("evil", f"{each:03}") for each in range(100)]


class Refreshes:
    """What was refreshed, and when; each refresh takes `work` seconds of CPU time, and none of the virtual time."""

    def __init__(self, work: float) -> None:
        self.work, self._worked = work, 0.0
        self.all: list[ModelKey] = []
        self.times: list[float] = []
        self.queue = RefreshQueue(self._refresh, virtual_time.now, lambda: self._worked)

    def _refresh(self, deployment: ModelKey) -> None:
        self.all.append(deployment)
        self.times.append(virtual_time.now())
        self._worked += self.work


def refreshed_by(actions: Callable[[Refreshes], Awaitable[None]], *, work: float = 0.001) -> Refreshes:
    async def run() -> Refreshes:
        refreshes = Refreshes(work)
        queue = asyncio.create_task(refreshes.queue.run())
        await asyncio.sleep(1)
        await actions(refreshes)
        await asyncio.sleep(1)
        queue.cancel()
        return refreshes

    return virtual_time.run(run())


def test_a_change_is_refreshed_immediately() -> None:
    async def actions(refreshes: Refreshes) -> None:
        before = virtual_time.now()
        refreshes.queue.changed(LLAMA)
        await asyncio.sleep(0.1)
        assert refreshes.times == [before]

    refreshed_by(actions)


def test_however_often_it_changes_before_its_turn_it_is_refreshed_once() -> None:
    async def actions(refreshes: Refreshes) -> None:
        for _ in range(1000):
            refreshes.queue.changed(LLAMA)

    assert refreshed_by(actions).all == [LLAMA]


def test_a_change_during_its_rest_causes_exactly_one_more_refresh() -> None:
    async def actions(refreshes: Refreshes) -> None:
        for _ in range(100):
            refreshes.queue.changed(LLAMA)
            await asyncio.sleep(0)

    refreshes = refreshed_by(actions)
    first, second = refreshes.times
    assert second - first == pytest.approx(REST * 0.001)


@pytest.mark.parametrize("work", [0.0001, 0.001, 0.01])
def test_one_that_changes_all_the_time_gets_a_twentieth_of_the_loop(work: float) -> None:
    async def actions(refreshes: Refreshes) -> None:
        for _ in range(10_000):
            refreshes.queue.changed(LLAMA)
            await asyncio.sleep(0.001)

    assert len(refreshed_by(actions, work=work).all) * work <= 10 / REST + 2 * work


def test_none_rests_for_long() -> None:
    async def actions(refreshes: Refreshes) -> None:
        for _ in range(2):
            refreshes.queue.changed(LLAMA)
            await asyncio.sleep(0.01)

    first, second = refreshed_by(actions, work=60).times
    assert second - first == pytest.approx(LONGEST_REST)


def test_a_namespace_with_a_hundred_changes_delays_another_by_one_refresh() -> None:
    async def actions(refreshes: Refreshes) -> None:
        for each in MANY:
            refreshes.queue.changed(each)
        refreshes.queue.changed(LLAMA)

    refreshes = refreshed_by(actions)
    assert refreshes.all.index(LLAMA) <= 1
    assert {*refreshes.all} == {*MANY, LLAMA}


def test_between_two_refreshes_other_tasks_run() -> None:
    async def actions(refreshes: Refreshes) -> None:
        for each in MANY:
            refreshes.queue.changed(each)
        for turns in range(len(MANY)):
            assert len(refreshes.all) <= turns
            await asyncio.sleep(0)

    refreshed_by(actions)


def test_urgent_refreshes_come_first_in_their_order_and_without_a_rest() -> None:
    async def actions(refreshes: Refreshes) -> None:
        refreshes.queue.changed(LLAMA)
        await asyncio.sleep(0.001)
        for each in MANY:
            refreshes.queue.changed(each)
        for each in (LLAMA, GEMMA):
            refreshes.queue.changed(each, urgently=True)

    assert refreshed_by(actions).all[:3] == [LLAMA, LLAMA, GEMMA]
