"""How much memory the activator takes when all that it may hold is held, against what it accounts.

PYTHONPATH=tests .venv/bin/python benchmarks/activator_memory.py
PYTHONPATH=tests .venv/bin/python benchmarks/activator_memory.py --max-mib 256 --only "8 MiB"

The activator is a separate process on loopback, a new one for each row, with 16 sleeping deployments. Clients of
256 addresses fill it until all are held or refused; then a replica is ready for all of them. The peak is the kernel's
own (VmHWM), so nothing between two looks is missed. What the kernel keeps in socket buffers is in none of the numbers.
`tests/attacks/test_memory.py` does the same on a small scale, and says how much may be taken.
"""

from __future__ import annotations

import asyncio
import resource
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

import click
import uvloop
from support.load.filling import KIB, LARGE_HEADERS, MIB, Filling, Pause, at_once, clients, serving
from support.programs import activator_process
from support.programs.activator_process import ActivatorProcess

SETTLES_AFTER = 2.0  # seconds without a change of what is accounted
WAKE_WITHIN = 30.0  # seconds that are watched of a wake
UNREAD_FOR = 5.0  # seconds, of responses that no client reads
LONGEST = 120.0  # seconds for each row


async def slowly() -> None:
    """64 KiB each time."""
    await asyncio.sleep(0.02)


async def for_ever() -> None:
    await asyncio.Event().wait()


FILLINGS: tuple[tuple[Filling, Pause, Pause], ...] = (
    # what is sent, and the pauses of the replica and of those who read its answers
    (Filling("bodies of 8 MiB", 160, 8 * MIB - KIB), at_once, at_once),
    (Filling("bodies of 8 MiB, a slow replica", 160, 8 * MIB - KIB), slowly, at_once),
    (Filling("bodies of 4 KiB", 4000, 4 * KIB), at_once, at_once),
    (Filling("heads of 13 KiB", 1000, headers=LARGE_HEADERS), at_once, at_once),
    (Filling("responses of 1 MiB that no client reads", 500, answer=MIB), at_once, for_ever),
)


@dataclass
class HeldMemory:
    what: str
    held: int
    accounted: float
    idle: float
    rss: float
    peak: float

    def line(self) -> str:
        """In MiB. The ratio is of what the activator takes beyond what it takes idle, to what it accounts."""
        ratio = (self.peak - self.idle) / max(self.accounted, 0.001)
        numbers = (self.accounted, self.idle, self.rss, self.peak)
        return f"| {self.what} | {self.held} | {' | '.join(f'{each:.0f}' for each in numbers)} | {ratio:.2f} |"


@click.command()
@click.option("--max-mib", type=int, default=0, help="As --max-bytes of the activator; without it, its default.")
@click.option("--only", default="", help="Only rows whose name contains this.")
def main(max_mib: int, only: str) -> None:
    """Fill the activator, and measure its memory."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    click.echo("| what | held | accounted | RSS idle | RSS held | peak, the wake included | peak / accounted |")
    click.echo("| --- | --- | --- | --- | --- | --- | --- |")
    for filling, replica_pauses, client_pauses in FILLINGS:
        if only in filling.what:
            click.echo(uvloop.run(measure(filling, replica_pauses, client_pauses, max_mib * MIB)).line())


async def measure(filling: Filling, replica_pauses: Pause, client_pauses: Pause, max_bytes: int) -> HeldMemory:
    async with asyncio.timeout(LONGEST), AsyncExitStack() as stack:
        replica = await stack.enter_async_context(serving(filling, pause=replica_pauses))
        house = await stack.enter_async_context(activator_process.started(max_bytes))
        idle = house.memory
        await stack.enter_async_context(clients(house.ports, filling, pause=client_pauses))
        accounted, held = await settled(house)
        rss = house.memory
        await house.ready(replica)
        if client_pauses is for_ever:
            await asyncio.sleep(UNREAD_FOR)
            accounted, _ = await house.accounted()
        else:
            await emptied(house)
        return HeldMemory(filling.what, held, accounted / MIB, idle / MIB, rss / MIB, house.peak / MIB)


async def settled(house: ActivatorProcess) -> tuple[int, int]:
    """The most that was accounted, and how many are held, once neither has changed for a while."""
    last, most, quiet = (-1, -1), 0, 0.0
    while quiet < SETTLES_AFTER:
        now = await house.accounted()
        quiet = quiet + 0.25 if now == last else 0.0
        last, most = now, max(most, now[0])
        await asyncio.sleep(0.25)
    return most, last[1]


async def emptied(house: ActivatorProcess) -> None:
    """All are answered, or enough has been seen of how slowly it goes."""
    with suppress(TimeoutError):
        async with asyncio.timeout(WAKE_WITHIN):
            while (await house.accounted())[0] > MIB:  # noqa: ASYNC110 - it responds to queries only
                await asyncio.sleep(0.25)


if __name__ == "__main__":
    main()
