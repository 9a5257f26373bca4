"""The activators of two checkouts in one run: what a request costs in each.

Requests go to both at the same time, one to each in turn, so that other load on the machine affects both alike. The
second one is at a disadvantage, so each is the first in every other round.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import geometric_mean

from percentiles import percentile

from path.load import LoadClient, at_steady_rate
from path.program import TREE, Program

ROUNDS = 6


@dataclass
class Checkout:
    """What was measured of one checkout, round by round, in milliseconds."""

    tree: Path
    processor: list[float] = field(default_factory=list)  # time for each request
    added: dict[int, list[float]] = field(default_factory=lambda: {50: [], 99: []})  # to what the backend takes itself


async def compare(there: Path, *, seconds: float, rate: float) -> tuple[Checkout, Checkout]:
    checkouts = Checkout(TREE), Checkout(there)
    for number in range(ROUNDS):
        await _round(checkouts[:: 1 if number % 2 else -1], seconds=seconds, rate=rate)
    return checkouts


async def _round(checkouts: tuple[Checkout, ...], *, seconds: float, rate: float) -> None:
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(Program.started("backend.py"))
        activators = [
            await stack.enter_async_context(Program.started("activator.py", tree=checkout.tree))
            for checkout in checkouts
        ]
        for activator in activators:
            await activator.tell(f"ready {backend.port}")
        lines = [LoadClient(each.port) for each in (backend, *activators)]
        await at_steady_rate(lines, rate=rate, seconds=2.0)
        for line in lines:
            line.latencies.clear()
        before = [activator.processor_time() for activator in activators]
        await at_steady_rate(lines, rate=rate, seconds=seconds)
        directly, *through = lines
        for checkout, activator, line, spent in zip(checkouts, activators, through, before, strict=True):
            if line.errors:
                raise RuntimeError(f"{line.errors} requests failed through the activator of {checkout.tree}")
            checkout.processor.append((activator.processor_time() - spent) / len(line.latencies) * 1000)
            for percent, added in checkout.added.items():
                added.append((percentile(line.latencies, percent) - percentile(directly.latencies, percent)) * 1000)
        for line in lines:
            line.close()


def table(here: Checkout, there: Checkout) -> Iterator[str]:
    """The ratios are geometric means of those in each round."""
    yield f"{'':45}{'there':>9}{'here':>9}{'ratio':>9}"
    for what, before, now in (
        ("processor time of a request, ms", there.processor, here.processor),
        ("added to a request, p50, ms", there.added[50], here.added[50]),
        ("added to a request, p99, ms", there.added[99], here.added[99]),
    ):
        ratio = geometric_mean([b / a for a, b in zip(before, now, strict=True)])
        yield f"{what:45}{percentile(before, 50):>9.2f}{percentile(now, 50):>9.2f}{ratio:>9.2f}"
