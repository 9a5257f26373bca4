"""Requests that come about when a model goes to sleep, at timings by chance, in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Coroutine, Iterable
from typing import Any

from support import virtual_time
from support.falling_asleep import COOLDOWN, IDLE_AFTER, POLLING, LostError, World

LONGEST = 600.0  # seconds, after which a request that is still held counts as lost


def tried(seeds: Iterable[int], **world: Any) -> Counter[str]:
    """One scene for each seed; says at which moments the requests came."""
    moments: Counter[str] = Counter()
    for seed in seeds:
        try:
            moments.update(virtual_time.run(_in_time(scene(random.Random(seed), **world))))
        except (LostError, TimeoutError) as error:
            raise AssertionError(f"with the seed {seed}: {error!r}") from error
    return moments


async def _in_time(scene: Coroutine[Any, Any, list[str]]) -> list[str]:
    async with asyncio.timeout(LONGEST):
        return await scene


async def scene(chance: random.Random, **made: Any) -> list[str]:
    """A model that was woken, and requests about when it goes to sleep; LostError if one isn't answered."""
    world = World(chance, **made)
    moments = [await world.request()]
    if chance.random() < 0.5:
        await world.decided.wait()
    else:
        await asyncio.sleep(chance.uniform(IDLE_AFTER - 2, IDLE_AFTER + POLLING + COOLDOWN + 6))
    moments += await asyncio.gather(*(_after(chance.uniform(0, 1.5), world) for _ in range(chance.randint(1, 4))))
    await world.until_asleep()
    await world.end()
    return moments


async def _after(seconds: float, world: World) -> str:
    await asyncio.sleep(seconds)
    return await world.request()
