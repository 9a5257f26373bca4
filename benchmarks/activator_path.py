"""What the activator costs while it is in the path: latency, memory, and whether anything gets lost.

make bench-activator
make bench-activator ARGS="--seconds 60"
make bench-activator ARGS="--beside ../before"

Requests go to the same backend directly and through the activator, in turn in one run, so that other load on the
machine affects both alike. Backend, activator and clients are separate processes on loopback. On a busy machine, CPU
time per request is more meaningful than latency.
"""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import results
import uvloop
from path.alternating import DataPath, compare
from path.alternating import table as compared
from path.load import LoadClient, at_steady_rate, held
from path.program import KIB, Program
from percentiles import percentile

HERE = Path(__file__).parent
CHECKOUT = click.Path(exists=True, file_okay=False, path_type=Path)
RESULT = results.named("activator-path")


@dataclass(frozen=True)
class PathOptions:
    seconds: float
    rate: float
    streams: int
    held: int
    held_bytes: int


@dataclass(frozen=True)
class Measurement:
    """One measured quantity: directly, through the activator, and the budget for the difference."""

    what: str
    direct: float | None
    through: float
    budget: float | None = None
    goal: float | None = None

    @property
    def added(self) -> float:
        return self.through - (self.direct or 0.0)


@click.command()
@click.option("--seconds", type=float, default=20.0, show_default=True, help="Duration of each phase.")
@click.option(
    "--rate",
    type=float,
    default=200.0,
    show_default=True,
    help="Requests per second, directly and through the activator.",
)
@click.option("--streams", type=int, default=500, show_default=True, help="Number of simultaneous streams.")
@click.option("--held", type=int, default=256, show_default=True, help="Number of simultaneously held requests.")
@click.option("--held-kib", type=int, default=64, show_default=True, help="Size of the body of each held request.")
@click.option("--beside", type=CHECKOUT, help="Another checkout, to compare only the costs of a request with.")
def main(seconds: float, rate: float, streams: int, held: int, held_kib: int, beside: Path | None) -> None:
    """Measure the activator's data path."""
    if beside:
        here, there = DataPath(), DataPath(tree=beside.resolve())
        uvloop.run(compare(here, there, seconds=seconds, rate=rate))
        click.echo("\n".join(compared(here, there)))
        return
    options = PathOptions(seconds, rate, streams, held, held_kib * KIB)
    rows = uvloop.run(measure(options))
    click.echo("\n".join(table(rows)))
    machine = {"machine": platform.machine(), "python": platform.python_version(), "system": platform.system()}
    results.write(RESULT, {**machine, **asdict(options), "rows": [asdict(row) for row in rows]})


async def measure(options: PathOptions) -> list[Measurement]:
    async with Program.started("backend.py") as backend:
        async with Program.started("activator.py") as activator:
            await activator.tell(f"ready {backend.port}")
            rows = await _latency(options, backend.port, activator)
            rows += await _streams(options, backend.port, activator.port)
        async with Program.started("activator.py") as activator:  # a new one, because used memory may not be returned
            return rows + await _memory(options, backend, activator)


async def _latency(options: PathOptions, direct: int, activator: Program) -> list[Measurement]:
    lines = LoadClient(direct), LoadClient(activator.port)
    await at_steady_rate(list(lines), rate=options.rate, seconds=2.0)
    for line in lines:
        line.latencies.clear()
    before = activator.processor_time()
    await at_steady_rate(list(lines), rate=options.rate, seconds=options.seconds)
    spent = (activator.processor_time() - before) / len(lines[1].latencies)
    return [
        *_rows(f"at {options.rate:.0f} requests/s", *lines),
        Measurement("processor time of the activator for each of them, ms", None, spent * 1000),
    ]


async def _streams(options: PathOptions, direct: int, through: int) -> list[Measurement]:
    """Also open a tenth as many streams directly to the backend, to compare the delays of events."""
    few, many = LoadClient(direct), LoadClient(through)
    lines = LoadClient(direct), LoadClient(through)
    events = int(options.seconds)
    async with asyncio.TaskGroup() as group:
        for number in range(options.streams):
            group.create_task(many.listen(events))
            if number % 10 == 0:
                group.create_task(few.listen(events))
            await asyncio.sleep(2.0 / options.streams)  # so that their events are not simultaneous
        await at_steady_rate(list(lines), rate=options.rate, seconds=options.seconds / 2)
    name = f"{options.streams} streams"
    return [
        Measurement(
            f"{name}, an event's way, p50, ms", in_milliseconds(few.delays, 50), in_milliseconds(many.delays, 50)
        ),
        Measurement(
            f"{name}, an event's way, p99, ms", in_milliseconds(few.delays, 99), in_milliseconds(many.delays, 99)
        ),
        Measurement(f"{name}, broken or incomplete", few.errors, many.errors, budget=0),
        *_rows(f"at {options.rate:.0f} requests/s besides {name}", *lines),
    ]


def _rows(name: str, direct: LoadClient, through: LoadClient) -> list[Measurement]:
    direct.close()
    through.close()
    halves = in_milliseconds(direct.latencies, 50), in_milliseconds(through.latencies, 50)
    highs = in_milliseconds(direct.latencies, 99), in_milliseconds(through.latencies, 99)
    return [
        Measurement(f"{name}, p50, ms", *halves, budget=1.0, goal=0.5),
        Measurement(f"{name}, p99, ms", *highs, budget=10.0, goal=3.0),
        Measurement(f"{name}, failed", direct.errors, through.errors, budget=0),
    ]


async def _memory(options: PathOptions, backend: Program, activator: Program) -> list[Measurement]:
    before = activator.memory("VmRSS")
    asked = asyncio.create_task(held(activator.port, options.held, b"x" * options.held_bytes))
    await asyncio.sleep(3.0)
    while_held = activator.memory("VmRSS")
    await activator.tell(f"ready {backend.port}")
    lost = options.held - await asked
    name = f"{options.held} held of {options.held_bytes // KIB} KiB"
    return [
        Measurement("memory of the activator alone, MiB", None, before),
        Measurement(f"memory with {name}, MiB", None, while_held),
        Measurement("its peak until they were answered, MiB", None, activator.memory("VmHWM")),
        Measurement(f"lost of {name}", None, lost, budget=0),
    ]


def in_milliseconds(seconds: list[float], percent: int) -> float:
    return percentile(seconds, percent) * 1000


def table(rows: list[Measurement]) -> Iterator[str]:
    yield f"{'':58} direct  through    added   budget     goal"
    for row in rows:
        numbers = (row.direct, row.through, row.added, row.budget, row.goal)
        yield f"{row.what:55}" + "".join(f"{'' if each is None else f'{each:.2f}':>9}" for each in numbers)


if __name__ == "__main__":
    main()
