"""The activator's own HTTP/1.1 data path compared with aiohttp at both ends: costs and attacks.

make bench-data-path
make bench-data-path ARGS="--seconds 5 --no-attacks"

Direct requests, requests through the activator and requests through the smallest proxy on aiohttp are sent round-robin,
in the same run, so that other load on the machine affects all of them alike. Each is first in some of the rounds.
"""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field

import click
import results
import uvloop
from path import corpus
from path.load import LoadClient, at_steady_rate, held
from path.program import KIB, Program
from percentiles import percentile

RESULT = results.named("data-path")
ROUNDS = 6
WAYS = {"own": "activator.py", "aiohttp": "aiohttp_proxy.py"}


@dataclass
class Costs:
    """Of one way, round by round, in milliseconds; memory in MiB."""

    processor: list[float] = field(default_factory=list)
    added_p50: list[float] = field(default_factory=list)
    added_p99: list[float] = field(default_factory=list)
    idle_memory: float = 0.0
    peak_memory: float = 0.0
    lost: int = 0


@click.command()
@click.option("--seconds", type=float, default=10.0, show_default=True, help="How long each round measures.")
@click.option("--rate", type=float, default=200.0, show_default=True, help="Requests a second on each way.")
@click.option("--held", "number", type=int, default=256, show_default=True, help="Requests that are held at a time.")
@click.option("--held-kib", type=int, default=64, show_default=True, help="Size of each of their bodies.")
@click.option("--attacks/--no-attacks", default=True, show_default=True, help="Whether to try the attacks, too.")
def main(seconds: float, rate: float, number: int, held_kib: int, attacks: bool) -> None:
    """Compare the activator's data path with one on aiohttp."""
    costs = uvloop.run(measure(seconds=seconds, rate=rate, number=number, size=held_kib * KIB))
    click.echo("\n".join(table(costs)))
    seen = {way: asyncio.run(corpus.outcomes(program)) for way, program in WAYS.items()} if attacks else {}
    click.echo("\n".join(table_of_attacks(seen)))
    machine = {"machine": platform.machine(), "python": platform.python_version()}
    options = {"seconds": seconds, "rate": rate, "held": number, "held_kib": held_kib, "rounds": ROUNDS}
    whole = {**machine, **options, "costs": {way: asdict(each) for way, each in costs.items()}, "attacks": seen}
    results.write(RESULT, whole)


async def measure(*, seconds: float, rate: float, number: int, size: int) -> dict[str, Costs]:
    costs = {way: Costs() for way in WAYS}
    for each in range(ROUNDS):
        await _round(list(costs)[:: 1 if each % 2 else -1], costs, seconds=seconds, rate=rate)
    for way, program in WAYS.items():
        await _memory(program, costs[way], number=number, size=size)
    return costs


async def _round(ways: list[str], costs: dict[str, Costs], *, seconds: float, rate: float) -> None:
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(Program.started("backend.py"))
        programs = [await stack.enter_async_context(Program.started(WAYS[way])) for way in ways]
        for program in programs:
            await program.tell(f"ready {backend.port}")
        lines = [LoadClient(each.port) for each in (backend, *programs)]
        await at_steady_rate(lines, rate=rate, seconds=2.0)
        for line in lines:
            line.latencies.clear()
        before = [program.processor_time() for program in programs]
        await at_steady_rate(lines, rate=rate, seconds=seconds)
        directly, *through = lines
        for way, program, line, spent in zip(ways, programs, through, before, strict=True):
            if line.errors:
                raise RuntimeError(f"{line.errors} requests failed through {way}")
            costs[way].processor.append((program.processor_time() - spent) / len(line.latencies) * 1000)
            for percent, added in ((50, costs[way].added_p50), (99, costs[way].added_p99)):
                added.append((percentile(line.latencies, percent) - percentile(directly.latencies, percent)) * 1000)
        for line in lines:
            line.close()


async def _memory(program: str, costs: Costs, *, number: int, size: int) -> None:
    async with Program.started("backend.py") as backend, Program.started(program) as started:
        costs.idle_memory = started.memory("VmRSS")
        waiting = asyncio.create_task(held(started.port, number, b"x" * size))
        await asyncio.sleep(3.0)
        await started.tell(f"ready {backend.port}")
        costs.lost = number - await waiting
        costs.peak_memory = started.memory("VmHWM")


def table(costs: dict[str, Costs]) -> Iterator[str]:
    """Medians of the rounds."""
    yield f"{'':45}" + "".join(f"{way:>10}" for way in costs)
    for what, values in (
        ("processor time of a request, ms", [percentile(each.processor, 50) for each in costs.values()]),
        ("added to a request, p50, ms", [percentile(each.added_p50, 50) for each in costs.values()]),
        ("added to a request, p99, ms", [percentile(each.added_p99, 50) for each in costs.values()]),
        ("memory when idle, MiB", [each.idle_memory for each in costs.values()]),
        ("its peak with held requests, MiB", [each.peak_memory for each in costs.values()]),
        ("lost of those", [each.lost for each in costs.values()]),
    ):
        yield f"{what:45}" + "".join(f"{value:>10.2f}" for value in values)


def table_of_attacks(seen: dict[str, dict[str, bool]]) -> Iterator[str]:
    for attack in next(iter(seen.values()), {}):
        yield f"{attack:60}" + "".join(f"{'holds' if each[attack] else 'FAILS':>10}" for each in seen.values())


if __name__ == "__main__":
    main()
