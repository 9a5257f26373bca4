"""Queries to the API server: alternating between tenants, rate-limited, bounded in parallel, with a bounded wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from slipway.activator.proxy.access.query_limiter import WAITING, QueryLimiter, QueryLimitError
from support.fakes import virtual_time
from support.fakes.virtual_time import now

SOON = 5.0


@dataclass
class Queries:
    """Queries that take a while, and the holders that made them, in the order in which they ran."""

    limiter: QueryLimiter
    duration: float = 0.0
    holders: list[str] = field(default_factory=list)
    at_once: list[int] = field(default_factory=lambda: [0])

    async def query(self, holder: str, *, within: float = SOON) -> None:
        async with self.limiter.turn(holder, until=now() + within):
            self.holders.append(holder)
            self.at_once.append(self.at_once[-1] + 1)
            await asyncio.sleep(self.duration)
            self.at_once.append(self.at_once[-1] - 1)


def with_limiter(
    test: Callable[[Queries], Awaitable[None]], *, burst: int = 1, at_once: int = 8, duration: float = 0.0
) -> None:
    async def run() -> None:
        await test(Queries(QueryLimiter(10.0, burst, at_once=at_once, clock=now), duration))

    virtual_time.run(run())


def test_below_the_limit_no_query_waits() -> None:
    async def test(queries: Queries) -> None:
        started = now()
        assert not queries.limiter.is_busy
        await asyncio.gather(*(queries.query("a") for _ in range(3)))
        assert now() == started
        assert queries.limiter.is_busy

    with_limiter(test, burst=3)


def test_beyond_a_burst_queries_are_sent_at_a_rate() -> None:
    async def test(queries: Queries) -> None:
        started = now()
        await asyncio.gather(*(queries.query("a") for _ in range(21)))
        assert now() - started == pytest.approx(2.0, abs=0.01)

    with_limiter(test)


def test_the_number_of_concurrent_queries_is_bounded() -> None:
    async def test(queries: Queries) -> None:
        await asyncio.gather(*(queries.query("a") for _ in range(20)))
        assert max(queries.at_once) == 4

    with_limiter(test, burst=20, at_once=4, duration=0.1)


def test_turns_alternate_between_holders_and_not_between_queries() -> None:
    async def test(queries: Queries) -> None:
        many = [asyncio.create_task(queries.query("many")) for _ in range(30)]
        await asyncio.sleep(0)
        await asyncio.gather(queries.query("few"), queries.query("few"), queries.query("one"))
        assert queries.holders == ["many", "many", "few", "one", "many", "few"]
        await asyncio.gather(*many)

    with_limiter(test)


def test_a_turn_is_not_waited_for_for_ever() -> None:
    async def test(queries: Queries) -> None:
        many = [asyncio.create_task(queries.query("many", within=60)) for _ in range(30)]
        await asyncio.sleep(0)
        with pytest.raises(QueryLimitError):
            await queries.query("many", within=1.0)
        await asyncio.gather(*many)
        assert len(queries.holders) == 30
        assert not queries.limiter._waiting

    with_limiter(test)


def test_the_number_of_waiting_queries_is_bounded() -> None:
    async def test(queries: Queries) -> None:
        many = [asyncio.create_task(queries.query("many", within=1.0)) for _ in range(WAITING + 20)]
        await asyncio.sleep(0.01)
        refused = [each for each in many if each.done() and isinstance(each.exception(), QueryLimitError)]
        assert len(refused) == 19
        await queries.query("other")
        await asyncio.gather(*many, return_exceptions=True)

    with_limiter(test)


def test_a_cancelled_query_leaves_its_turn_to_others() -> None:
    async def test(queries: Queries) -> None:
        many = [asyncio.create_task(queries.query("many")) for _ in range(10)]
        await asyncio.sleep(0)
        for each in many[1:]:
            each.cancel()
        await asyncio.gather(*many, return_exceptions=True)
        started = now()
        await queries.query("other")
        assert now() - started == pytest.approx(0.1, abs=0.01)
        assert queries.holders == ["many", "other"]

    with_limiter(test)


def test_a_query_cancelled_at_the_moment_of_its_turn_returns_it() -> None:
    async def test(queries: Queries) -> None:
        async with queries.limiter.turn("a", until=now() + SOON):
            cancelled = asyncio.create_task(queries.query("gone"))
            await asyncio.sleep(0)
        cancelled.cancel()  # it has its turn, and hasn't been resumed yet
        await asyncio.gather(cancelled, return_exceptions=True)
        await queries.query("b")
        assert queries.holders == ["b"]

    with_limiter(test, burst=9, at_once=1)


def test_a_query_that_fails_returns_its_turn() -> None:
    async def test(queries: Queries) -> None:
        with pytest.raises(ZeroDivisionError):
            async with queries.limiter.turn("a", until=now() + SOON):
                raise ZeroDivisionError
        await queries.query("b")

    with_limiter(test, burst=2, at_once=1)
