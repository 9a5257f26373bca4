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
from dataclasses import asdict, dataclass

import click
import results
import uvloop
from path import corpus
from path.alternating import ROUNDS, DataPath, compare
from path.load import held
from path.program import KIB, Program
from percentiles import percentile

RESULT = results.named("data-path")
WAYS = {"own": "activator.py", "aiohttp": "aiohttp_proxy.py"}


@dataclass
class Costs(DataPath):
    """Those of alternating rounds, and memory in MiB."""

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
    measured = {way: _measured(each) for way, each in costs.items()}
    whole = {**machine, **options, "costs": measured, "attacks": seen}
    results.write(RESULT, whole)


def _measured(costs: Costs) -> dict[str, object]:
    return {name: value for name, value in asdict(costs).items() if name != "tree"}


async def measure(*, seconds: float, rate: float, number: int, size: int) -> dict[str, Costs]:
    costs = {way: Costs(program) for way, program in WAYS.items()}
    await compare(*costs.values(), seconds=seconds, rate=rate)
    for each in costs.values():
        await _memory(each, number=number, size=size)
    return costs


async def _memory(costs: Costs, *, number: int, size: int) -> None:
    async with Program.started("backend.py") as backend, Program.started(costs.program) as started:
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
        ("added to a request, p50, ms", [percentile(each.added[50], 50) for each in costs.values()]),
        ("added to a request, p99, ms", [percentile(each.added[99], 50) for each in costs.values()]),
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
