"""Requests that arrive around the moment when a model goes to sleep, at random times, in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from slipway.api.names import SLEEP_ANNOTATION, WAKE_ANNOTATION

from support.fakes import virtual_time
from support.fakes.sleep_simulation import COOLDOWN, IDLE_AFTER, POLLING, Activator, LostError, World, clock

Scenario = Callable[..., Coroutine[Any, Any, list[str]]]
LONGEST = 600.0  # seconds after which a request that is still held counts as lost


def run_scenarios(seeds: Iterable[int], play: Scenario | None = None, **world: Any) -> Counter[str]:
    """Runs one scenario for each seed; returns how many requests arrived in which state of the model."""
    moments: Counter[str] = Counter()
    for seed in seeds:
        try:
            moments.update(virtual_time.run(_in_time((play or requests_around_sleep)(random.Random(seed), **world))))
        except (LostError, TimeoutError) as error:
            raise AssertionError(f"with the seed {seed}: {error!r}") from error
    return moments


async def _in_time(scene: Coroutine[Any, Any, list[str]]) -> list[str]:
    async with asyncio.timeout(LONGEST):
        return await scene


async def requests_around_sleep(chance: random.Random, **made: Any) -> list[str]:
    """A model that was woken, and requests around the time when it goes to sleep; LostError if one gets no response."""
    world = World(chance, **made)
    moments = [await world.request()]
    if chance.random() < 0.5:
        await world.wants_none.wait()
    else:
        await asyncio.sleep(chance.uniform(IDLE_AFTER - 2, IDLE_AFTER + POLLING + COOLDOWN + 6))
    moments += await asyncio.gather(*(_after(chance.uniform(0, 1.5), world) for _ in range(chance.randint(1, 4))))
    await world.until_asleep()
    await world.end()
    return moments


async def woken_by_hand(chance: random.Random) -> list[str]:
    """A model that is woken by its annotation, without a request. It stays awake as long as after a request, then
    sleeps."""
    idle_after = chance.uniform(10, 60)
    world = World(chance, idle_after=idle_after)
    await asyncio.sleep(chance.uniform(0, 10))
    world.annotate(WAKE_ANNOTATION)
    woken_at = clock()
    while not any(pod.is_ready for pod in world.pods):  # noqa: ASYNC110 - in virtual time, it costs nothing
        await asyncio.sleep(0.1)
    await world.until_asleep()
    assert clock() - woken_at >= idle_after, "it went to sleep too soon"
    restarted = Activator(world, 2)
    for _ in range(120):
        restarted.observe()
        assert not restarted.wants, "an activator that was restarted wakes it again"
        assert not world.replicas, "it woke again"
        await asyncio.sleep(1)
    await world.end()
    return ["asleep"]


async def sent_to_sleep_by_hand(chance: random.Random) -> list[str]:
    """A model that is sent to sleep long before it is idle, while requests arrive."""
    world = World(chance, idle_after=6000)
    moments = [await world.request()]
    await asyncio.sleep(chance.uniform(0, 5))
    asking = [asyncio.create_task(_after(chance.uniform(0, 15), world)) for _ in range(chance.randint(0, 4))]
    await asyncio.sleep(chance.uniform(0, 10))
    world.annotate(SLEEP_ANNOTATION)
    moments += await asyncio.gather(*asking)
    await asyncio.sleep(chance.uniform(0, 2))
    world.annotate(SLEEP_ANNOTATION)
    await world.until_asleep()
    await world.end()
    return moments


async def _after(seconds: float, world: World) -> str:
    await asyncio.sleep(seconds)
    return await world.request()
