"""Unused connections to replicas: how long they stay open, and how many of them there are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from slipway.activator.proxy import open_files, upstream_pool
from slipway.activator.proxy.upstream_pool import IdleConnections, UpstreamPool
from support.fakes.scripted_engine import ScriptedEngine, scripted_engine


@pytest.fixture
async def engine() -> AsyncIterator[ScriptedEngine]:
    async with scripted_engine() as engine:
        yield engine


async def put_back(pool: UpstreamPool, engine: ScriptedEngine, number: int) -> None:
    """As many as it had at a time."""
    address = "127.0.0.1", engine.port
    pool.keep_only((address,))
    for channel, _ in [await pool.get(address) for _ in range(number)]:
        pool.give_back(address, channel)


async def until_left(engine: ScriptedEngine, number: int) -> None:
    async with asyncio.timeout(10):
        while engine.closed_connections < number:
            engine.client_left.clear()
            await engine.client_left.wait()


async def test_they_are_closed_though_no_request_arrives(
    engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream_pool, "KEPT_FOR", 0.05)
    idle = IdleConnections()
    for _ in range(3):  # deployments
        await put_back(UpstreamPool(idle), engine, 2)
    await until_left(engine, 6)
    assert len(idle) == 0
    assert idle._timer is None


async def test_of_all_deployments_the_oldest_connection_is_closed_where_there_are_too_many(
    engine: ScriptedEngine,
) -> None:
    idle = IdleConnections(most=3)
    one, other = UpstreamPool(idle), UpstreamPool(idle)
    await put_back(one, engine, 2)
    await put_back(other, engine, 2)
    await until_left(engine, 1)
    assert len(idle) == 3
    one.close()
    other.close()
    await until_left(engine, 4)


async def test_one_replica_has_a_lower_limit(engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream_pool, "MOST_KEPT", 2)
    pool = UpstreamPool()
    await put_back(pool, engine, 5)
    await until_left(engine, 3)
    pool.close()


async def test_one_timer_is_enough_for_all_requests(engine: ScriptedEngine) -> None:
    idle = IdleConnections()
    pool = UpstreamPool(idle)
    await put_back(pool, engine, 1)
    first = idle._timer
    for _ in range(100):
        await put_back(pool, engine, 1)
    assert idle._timer is first
    assert engine.connections == 1
    pool.close()
    assert idle._timer is None


async def test_a_connection_that_its_replica_has_closed_or_written_to_unrequested_is_not_used(
    engine: ScriptedEngine,
) -> None:
    pool, address = UpstreamPool(), ("127.0.0.1", engine.port)
    await put_back(pool, engine, 1)
    kept, was_used = await pool.get(address)
    assert was_used
    pool.give_back(address, kept)
    kept.parser.take(b"HTTP/1.1 200 OK\r\n\r\n")
    other, was_used = await pool.get(address)
    assert not was_used
    pool.give_back(address, other)
    other.abort()
    await asyncio.sleep(0)
    third, was_used = await pool.get(address)
    assert not was_used
    third.abort()
    pool.close()


def test_there_are_files_for_all_of_them_besides_those_of_clients() -> None:
    for limit in (2048, 4096, 20_000, 1 << 20):
        idle, remaining = open_files.idle(limit), limit - open_files.FOR_THE_REST
        assert 1 <= idle <= open_files.MOST_IDLE
        assert idle <= remaining / open_files.OF_IDLE
