"""What a replica gets to know of a request that was held."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from slipway.activator.proxy.hold_times import Wake, hold_of
from slipway.activator.shared.replica import Replica
from slipway.contract.hold import HOLD_HEADER, Hold, parse_hold
from support.fakes.scripted_engine import ScriptedEngine, answering, cutting, in_turn, scripted_engine
from support.programs.activator import Activator, activated, connected

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
POD = Replica("10.0.0.1", 8080, 4, NOW - timedelta(seconds=8), NOW - timedelta(seconds=7))
UNKNOWN = Replica("10.0.0.1", 8080, 4)
FORGED = f"{HOLD_HEADER}: arrived=9,held=9\r\n"


@pytest.mark.parametrize(
    ("replica", "wake", "expected"),
    [
        pytest.param(POD, None, Hold(arrived=10_000, held=9500), id="the model was awake"),
        pytest.param(POD, Wake(80, 90.4), Hold(arrived=10_000, held=9500), id="a wake before it"),
        pytest.param(UNKNOWN, Wake(80, 99), Hold(arrived=10_000, held=9500, woken=20_000, ready=1000), id="no times"),
        pytest.param(
            POD,
            Wake(90.5, 99),
            Hold(arrived=10_000, held=9500, woken=9500, ready=1000, created=8000, scheduled=7000),
            id="a wake",
        ),
    ],
)
def test_times_are_milliseconds_before_it_is_sent(replica: Replica, wake: Wake | None, expected: Hold) -> None:
    assert hold_of(replica, arrived=90, held=90.5, wake=wake, now=100, wall=NOW) == expected


async def held_at(engine: ScriptedEngine, activator: Activator, *, headers: str = "") -> Hold:
    """Sends a request to a model at zero, which is ready a little later; returns what the engine gets of the hold."""
    async with connected(activator) as client:
        client.post(headers=headers)
        await activator.until_waiting(1)
        await asyncio.sleep(0.05)
        activator.ready(engine)
        assert (await client.answer()).status == 200
    values = [value for name, value in engine.requests[-1].headers if name.lower() == HOLD_HEADER]
    [hold] = map(parse_hold, values)
    assert hold
    return hold


async def test_a_replica_gets_the_times_of_a_held_request_and_of_the_wake() -> None:
    async with scripted_engine(answering(b"{}")) as engine, activated() as activator:
        hold = await held_at(engine, activator)
    assert 50 <= hold.held <= hold.arrived < 10_000
    assert hold.woken is not None
    assert hold.ready is not None
    assert 0 <= hold.ready < hold.woken <= hold.arrived


async def test_a_client_cannot_forge_them() -> None:
    async with scripted_engine(answering(b"{}")) as engine, activated() as activator:
        assert (await held_at(engine, activator, headers=FORGED)).arrived >= 50
        async with connected(activator) as client:
            client.post(headers=FORGED)
            assert (await client.answer()).status == 200
        assert engine.requests[-1].header(HOLD_HEADER) is None


async def test_each_try_has_its_own_times() -> None:
    async with scripted_engine(in_turn(cutting(), answering(b"{}"))) as engine, activated() as activator:
        last = await held_at(engine, activator)
        [first] = map(parse_hold, filter(None, [engine.requests[0].header(HOLD_HEADER)]))
    assert first
    assert last.arrived > first.arrived
