"""The memory of an activator that holds as much as it may: little more than it accounts for, during a wake as well.

It is a process of its own, and the peak is the kernel's number, without the kernel's socket buffers.
"""

from __future__ import annotations

import asyncio

import pytest
from slipway.activator.http1.channel import MOST_UNREAD
from support.load.filling import KIB, LARGE_HEADERS, MIB, Filling, Gate, clients, serving
from support.programs import activator_process
from support.programs.activator_process import ActivatorProcess

pytestmark = pytest.mark.skipif("sys.platform != 'linux'", reason="the kernel must report the memory of a process")

UNACCOUNTED = 16 * MIB
"""Extra memory that it may take: for clients that it refuses meanwhile, and for what Python frees later."""

FULL = [
    # the most bytes that it may hold, and the requests that fill it
    (32 * MIB, Filling("large bodies", 24, body=2 * MIB)),
    (32 * MIB, Filling("large heads", 400, headers=LARGE_HEADERS)),
    (8 * MIB, Filling("much pipelined data", 400, ahead=256 * KIB)),
]


@pytest.mark.parametrize(("most", "filling"), FULL, ids=[filling.what for _, filling in FULL])
async def test_a_wake_at_full_load_takes_little_more_memory_than_is_accounted(most: int, filling: Filling) -> None:
    gate = Gate()
    async with (
        asyncio.timeout(60),
        serving(filling, pause=gate.passed) as replica,
        activator_process.started(most) as global_limits,
        clients(global_limits.ports, filling) as requests,
    ):
        idle = global_limits.memory
        accounted, held = await until_full(global_limits, requests)
        await global_limits.ready(replica)
        await gate.until_there(held)  # so that all bodies are in transit at the same time, and none has been read yet
        gate.open()
        answered = [status for status in await asyncio.gather(*requests) if status == 200]
        taken = global_limits.peak - idle
    assert 0 < held == len(answered)
    assert taken <= accounted + UNACCOUNTED + held * min(filling.ahead, MOST_UNREAD)
    assert held < filling.number


async def until_full(global_limits: ActivatorProcess, requests: list[asyncio.Task[int]]) -> tuple[int, int]:
    """The accounted bytes and the held requests, once all others have been refused."""
    while True:
        accounted, held = await global_limits.accounted()
        if held + sum(task.done() for task in requests) == len(requests):
            return accounted, held
        await asyncio.sleep(0.02)
