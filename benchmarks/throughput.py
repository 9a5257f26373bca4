"""Requests at a high rate through the guard, through activator and guard, and to the same app alone.

make bench-load
make bench-load ARGS="--rate 1000 --seconds 30"

The setups are loaded round-robin, so that other load on the machine affects all of them alike. App, activator and
client are separate processes on loopback. If a setup can't sustain the rate, its latency grows and requests are late.
The figure that does not depend on other load is CPU time per request.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import click
import results
import uvloop
from path.load import LoadClient, at_steady_rate
from path.program import Program
from percentiles import percentile

RESULT = results.named("throughput")
WARM_UP = 2.0  # seconds


@dataclass
class Setup:
    """One way to the app: a client, the processes that its requests pass through, and what was measured."""

    name: str
    line: LoadClient
    programs: list[Program]
    spent: float = 0.0  # seconds of processor time
    latencies: list[float] = field(default_factory=list)
    took: float = 0.0

    async def load(self, rate: float, seconds: float) -> None:
        self.line.latencies.clear()
        before = sum(each.processor_time() for each in self.programs)
        self.took += await at_steady_rate([self.line], rate=rate, seconds=seconds)
        self.spent += sum(each.processor_time() for each in self.programs) - before
        self.latencies += self.line.latencies

    def row(self) -> dict[str, float | str]:
        answered = len(self.latencies)
        return {
            "way": self.name,
            "answered": answered,
            "failed": self.line.errors,
            "per second": answered / self.took,
            "p50 ms": percentile(self.latencies, 50) * 1000,
            "p99 ms": percentile(self.latencies, 99) * 1000,
            "processor ms each": self.spent / answered * 1000,
        }


@click.command()
@click.option("--rate", type=float, default=1000.0, show_default=True, help="Requests per second to each setup.")
@click.option("--seconds", type=float, default=10.0, show_default=True, help="Duration of each load.")
@click.option("--rounds", type=int, default=3, show_default=True, help="Number of loads of each setup.")
def main(rate: float, seconds: float, rounds: int) -> None:
    """Measure guard and activator under load."""
    rows = uvloop.run(measure(rate, seconds, rounds))
    click.echo("  ".join(f"{name:>18}" for name in rows[0]))
    for row in rows:
        click.echo("  ".join(f"{each:>18.2f}" if isinstance(each, float) else f"{each:>18}" for each in row.values()))
    results.write(RESULT, {"rate": rate, "seconds": seconds, "rounds": rounds, "rows": rows})


async def measure(rate: float, seconds: float, rounds: int) -> list[dict[str, float | str]]:
    async with setups() as found:
        for setup in found:
            await at_steady_rate([setup.line], rate=rate / 4, seconds=WARM_UP)
        for _ in range(rounds):
            for setup in found:
                await setup.load(rate, seconds)
        return [setup.row() for setup in found]


@asynccontextmanager
async def setups() -> AsyncIterator[list[Setup]]:
    async with (
        Program.started("guarded.py", str(free_port()), "bare") as app,
        Program.started("guarded.py", str(free_port())) as guarded,
        Program.started("activator.py") as activator,
    ):
        await activator.tell(f"ready {guarded.port}")
        yield [
            Setup("app alone", LoadClient(app.port), [app]),
            Setup("guard", LoadClient(guarded.port), [guarded]),
            Setup("activator, guard", LoadClient(activator.port), [activator, guarded]),
        ]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


if __name__ == "__main__":
    main()
