"""Demand: what is known of each deployment, and which waiters are notified of a change."""

import asyncio

import pytest
from slipway.activator.shared.demand import Demand, ModelDemand, UnknownModelError
from slipway.api.model_key import ModelKey

LLAMA = ModelKey("chat", "llama")
GEMMA = ModelKey("chat", "gemma")
IDLE = ModelDemand(active=False, waiting=0, target_per_replica=8)
BUSY = ModelDemand(active=True, waiting=3, target_per_replica=8)


@pytest.fixture
def demand() -> Demand:
    demand = Demand()
    demand.report(LLAMA, IDLE)
    return demand


async def waiting_for(demand: Demand, expected: ModelDemand) -> asyncio.Task[ModelDemand]:
    """A task that already waits for LLAMA to be as wanted."""
    task = asyncio.create_task(demand.until(LLAMA, lambda state: state == expected))
    await asyncio.sleep(0)
    assert not task.done()
    return task


def test_the_newest_report_counts(demand: Demand) -> None:
    demand.report(LLAMA, BUSY)
    assert demand.of(LLAMA) == BUSY


def test_an_unknown_deployment_is_an_error_that_names_it(demand: Demand) -> None:
    with pytest.raises(UnknownModelError, match="chat/gemma"):
        demand.of(GEMMA)


def test_a_forgotten_deployment_is_unknown(demand: Demand) -> None:
    demand.forget(LLAMA)
    with pytest.raises(UnknownModelError):
        demand.of(LLAMA)


def test_forgetting_an_unknown_deployment_is_not_an_error(demand: Demand) -> None:
    demand.forget(GEMMA)
    assert demand.of(LLAMA) == IDLE


def test_deployments_of_the_same_name_in_two_namespaces_are_two(demand: Demand) -> None:
    demand.report(ModelKey("other", "llama"), BUSY)
    assert demand.of(LLAMA) == IDLE


async def test_until_returns_immediately_when_the_condition_holds_already(demand: Demand) -> None:
    assert await demand.until(LLAMA, lambda state: not state.active) == IDLE


async def test_a_change_wakes_all_waiters_for_it(demand: Demand) -> None:
    waiters = [await waiting_for(demand, BUSY) for _ in range(3)]
    demand.report(LLAMA, BUSY)
    assert await asyncio.gather(*waiters) == [BUSY] * 3


async def test_a_change_that_does_not_meet_the_condition_wakes_no_waiter(demand: Demand) -> None:
    waiter = await waiting_for(demand, BUSY)
    demand.report(LLAMA, IDLE._replace(target_per_replica=4))
    await asyncio.sleep(0)
    assert not waiter.done()
    demand.report(LLAMA, BUSY)
    assert await waiter == BUSY


async def test_another_deployments_change_wakes_no_waiter(demand: Demand) -> None:
    waiter = await waiting_for(demand, BUSY)
    demand.report(GEMMA, BUSY)
    await asyncio.sleep(0)
    assert not waiter.done()
    waiter.cancel()


async def test_forgetting_ends_the_waiting_with_an_error(demand: Demand) -> None:
    waiter = await waiting_for(demand, BUSY)
    demand.forget(LLAMA)
    with pytest.raises(UnknownModelError):
        await waiter


def test_a_negative_number_of_requests_is_refused(demand: Demand) -> None:
    with pytest.raises(ValueError, match="cannot be waiting"):
        demand.report(LLAMA, IDLE._replace(waiting=-1))


@pytest.mark.parametrize("target", [0, -1, float("nan")])
def test_a_target_that_no_replica_could_meet_is_refused(demand: Demand, target: float) -> None:
    with pytest.raises(ValueError, match="cannot be meant for"):
        demand.report(LLAMA, IDLE._replace(target_per_replica=target))
