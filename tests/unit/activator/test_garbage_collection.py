"""No request waits for garbage collection: requests leave no cycles, and full collections run at quiet times."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from slipway.activator.garbage_collection import EVERY, FEW, LATEST, collect_when_quiet
from slipway.activator.proxy.config import ProxyConfig
from slipway.activator.shared.hold_limits import HoldLimits
from support.fakes import virtual_time
from support.fakes.scripted_engine import ScriptedEngine, cutting, echoing, scripted_engine
from support.programs.activator import Activator, activated, ask, connected

Scenario = Callable[[Activator, ScriptedEngine], Awaitable[None]]


@pytest.fixture
async def engine() -> AsyncIterator[ScriptedEngine]:
    async with scripted_engine(echoing()) as engine:
        yield engine


async def a_request(activator: Activator, engine: ScriptedEngine) -> None:
    activator.ready(engine)
    assert (await ask(activator, b"prompt")).status == 200


async def a_request_that_is_held(activator: Activator, engine: ScriptedEngine) -> None:
    activator.ready()
    request_task = asyncio.create_task(ask(activator, b"prompt"))
    await activator.until_waiting(1)
    activator.ready(engine)
    assert (await request_task).status == 200


async def a_stream_that_is_held(activator: Activator, engine: ScriptedEngine) -> None:
    activator.ready()
    async with connected(activator) as client:
        client.post(b'{"stream": true}')
        await client.head()
        activator.ready(engine)
        while await client.chunk():
            pass


async def a_client_that_goes_away(activator: Activator, engine: ScriptedEngine) -> None:
    activator.ready()
    async with connected(activator) as client:
        client.post()
        await activator.until_waiting(1)
    await activator.until_waiting(0)


async def silence(activator: Activator, engine: ScriptedEngine) -> None:
    async with connected(activator) as client:
        assert await client.is_closed()


async def nonsense(activator: Activator, engine: ScriptedEngine) -> None:
    async with connected(activator) as client:
        client.send(b"hello\r\n\r\n")
        assert (await client.answer()).status == 400


async def a_replica_that_fails(activator: Activator, engine: ScriptedEngine) -> None:
    activator.ready(engine)
    engine.script = cutting()
    assert (await ask(activator)).status == 502
    engine.script = echoing()


SCENARIOS = [
    a_request,
    a_request_that_is_held,
    a_stream_that_is_held,
    a_client_that_goes_away,
    silence,
    nonsense,
    a_replica_that_fails,
]


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_no_garbage_is_left_for_a_collection(engine: ScriptedEngine, scenario: Scenario) -> None:
    config = ProxyConfig(head_timeout=0.1, linger=0.05)
    async with activated(limits=HoldLimits(timeout=20, heartbeat=0.02), config=config) as activator:
        await scenario(activator, engine)
        await _all_have_left(activator)
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                await scenario(activator, engine)
            await _all_have_left(activator)
            assert _garbage_of_ours() == []
        finally:
            gc.enable()


async def _all_have_left(activator: Activator) -> None:
    [port] = activator.listeners._listeners.values()
    async with asyncio.timeout(10):
        while port.connections:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)
    for _ in range(5):
        await asyncio.sleep(0.01)


def _garbage_of_ours() -> list[str]:
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        return [type(each).__name__ for each in gc.garbage if type(each).__module__.startswith("slipway.")]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


@pytest.mark.parametrize(("connections", "interval"), [(FEW - 1, EVERY), (FEW, LATEST)])
def test_a_full_collection_runs_when_few_connections_are_open_or_else_once_an_hour(
    connections: int, interval: float
) -> None:
    searched: list[float] = []

    async def hours() -> None:
        looking = asyncio.create_task(
            collect_when_quiet(lambda: connections, lambda: searched.append(virtual_time.now()))
        )
        await asyncio.sleep(2 * LATEST + 1)
        looking.cancel()

    virtual_time.run(hours())
    assert len(searched) == 2 * LATEST // interval
