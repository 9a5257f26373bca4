"""How long a devcluster takes to start and to end, what it weighs when idle, and whether anything of it is left behind.

make bench ARGS="--rounds 10"
"""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import click
from percentiles import percentile
from slipway_devcluster import lifecycle, status
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.paths import default_cache
from slipway_devcluster.progress import Durations, Steps
from slipway_devcluster.record import Options

NAME = "bench"
BUDGETS = {"up, seconds": 25.0, "down, seconds": 5.0, "idle memory, MB": 2000.0}


@dataclass(frozen=True)
class Round:
    """One life of a cluster."""

    up: float
    down: float
    memory: float
    left_behind: list[str]


@click.command()
@click.option(
    "--rounds", type=click.IntRange(1, 100), default=10, show_default=True, help="Clusters to start, one after another."
)
@click.option("--settle", type=float, default=5.0, show_default=True, help="Seconds before the memory is read.")
def main(rounds: int, settle: float) -> None:
    """Start and end a cluster several times; everything that it needs is built before the clock runs."""
    cache = default_cache()
    steps = Steps(cache)
    lifecycle.ensure_parts(cache, steps, lifecycle.programs_of(Options()))

    def start() -> Cluster:
        return lifecycle.up(NAME, cache=cache, steps=steps)

    def end() -> None:
        lifecycle.down(NAME, cache=cache, steps=steps)

    def weigh(cluster: Cluster) -> float:
        time.sleep(settle)
        return sum(status.look(cluster, Durations(cache)).memory.values()) / status.MB

    results = [one_round(start, weigh, end) for _ in range(rounds)]
    click.echo("\n".join(report(results)))


def one_round(start: Callable[[], Cluster], weigh: Callable[[Cluster], float], end: Callable[[], None]) -> Round:
    before = traces()
    began = time.monotonic()
    cluster = start()
    up = time.monotonic() - began
    memory = weigh(cluster)
    began = time.monotonic()
    end()
    down = time.monotonic() - began
    return Round(up, down, memory, sorted(traces() - before))


def traces() -> set[str]:
    """What a cluster could leave on the machine: mounts, links, routes, control groups, processes of a node."""
    network = _lines("ip -brief link") | _lines("ip route show table all")
    nodes = {line for line in _lines("ps -eo args") if "slipway" in line and "devcluster" not in line}
    groups = {str(path) for path in Path("/sys/fs/cgroup").glob("**/slipway-*")}
    return network | nodes | groups | set(Path("/proc/self/mountinfo").read_text().splitlines())


def _lines(command: str) -> set[str]:
    return set(subprocess.run(command.split(), capture_output=True, text=True, check=True).stdout.splitlines())


def report(results: list[Round]) -> Iterable[str]:
    series = {
        "up, seconds": [result.up for result in results],
        "down, seconds": [result.down for result in results],
        "idle memory, MB": [result.memory for result in results],
    }
    yield f"{len(results)} rounds{'':14}     p50     p95  budget  p95/budget"
    for what, values in series.items():
        high = percentile(values, 95)
        budget = BUDGETS[what]
        yield f"{what:20} {statistics.median(values):9.2f} {high:7.2f} {budget:7.0f} {high / budget:11.2f}"
    left = [trace for result in results for trace in result.left_behind]
    yield "left behind: " + ("nothing" if not left else "\n  ".join(["", *left]))


if __name__ == "__main__":
    main()
