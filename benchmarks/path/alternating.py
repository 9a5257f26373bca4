"""Two data paths in one run: what a request costs on each.

Requests go directly to the backend and through both at the same time, one to each in turn, so that other load on the
machine affects all alike. The second one is at a disadvantage, so each is the first in every other round.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import geometric_mean

from percentiles import percentile

from path.load import LoadClient, at_steady_rate
from path.program import TREE, Program

ROUNDS = 6


@dataclass
class DataPath:
    """A program and what was measured of it, round by round, in milliseconds."""

    program: str = "activator.py"
    tree: Path = TREE
    processor: list[float] = field(default_factory=list)  # time for each request
    added: dict[int, list[float]] = field(default_factory=lambda: {50: [], 99: []})  # to what the backend takes itself


async def compare(*paths: DataPath, seconds: float, rate: float) -> None:
    """Fills in what was measured."""
    for number in range(ROUNDS):
        await _round(paths[:: 1 if number % 2 else -1], seconds=seconds, rate=rate)


async def _round(paths: Sequence[DataPath], *, seconds: float, rate: float) -> None:
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(Program.started("backend.py"))
        programs = [await stack.enter_async_context(Program.started(each.program, tree=each.tree)) for each in paths]
        for program in programs:
            await program.tell(f"ready {backend.port}")
        lines = [LoadClient(each.port) for each in (backend, *programs)]
        await at_steady_rate(lines, rate=rate, seconds=2.0)
        for line in lines:
            line.latencies.clear()
        before = [program.processor_time() for program in programs]
        await at_steady_rate(lines, rate=rate, seconds=seconds)
        directly, *through = lines
        for path, program, line, spent in zip(paths, programs, through, before, strict=True):
            if line.errors:
                raise RuntimeError(f"{line.errors} requests failed through {path.program} of {path.tree}")
            path.processor.append((program.processor_time() - spent) / len(line.latencies) * 1000)
            for percent, added in path.added.items():
                added.append((percentile(line.latencies, percent) - percentile(directly.latencies, percent)) * 1000)
        for line in lines:
            line.close()


def table(here: DataPath, there: DataPath) -> Iterator[str]:
    """The ratios are geometric means of those in each round."""
    yield f"{'':45}{'there':>9}{'here':>9}{'ratio':>9}"
    for what, before, now in (
        ("processor time of a request, ms", there.processor, here.processor),
        ("added to a request, p50, ms", there.added[50], here.added[50]),
        ("added to a request, p99, ms", there.added[99], here.added[99]),
    ):
        ratio = geometric_mean([b / a for a, b in zip(before, now, strict=True)])
        yield f"{what:45}{percentile(before, 50):>9.2f}{percentile(now, 50):>9.2f}{ratio:>9.2f}"
