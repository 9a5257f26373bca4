"""What many LLMDeployments cost: time until they are applied and reported, calls, memory and CPU time.

make bench-scale N=1000
make bench-scale N=1000 ARGS="--kserve paused"
make bench-scale N=200 ARGS="--replicas 1"
make bench-scale N=1000 ARGS="--kserve paused --planned"

All of them are created at the same time, left alone, changed, reconciled by an operator that has just started,
reconciled by resyncs, and deleted. Moments are those at which the benchmark's own watches were notified; calls are
counted by the operator itself (`slipway_api_calls_total`); memory and processor time are read from /proc.
"""

from __future__ import annotations

import asyncio
import os
import platform
import shlex
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import results
from observer import EVERYTHING, METADATA_ALONE, observing
from scale import cluster as clusters
from scale.figures import Phase, against_budgets, calls_told, phase_of, table
from scale.process import OperatorProcess, Reading, operator
from scale.story import CHILDREN, Stories, Story
from slipway.kube.call_retries import Patience
from slipway.kube.client import KubeClient
from slipway.kube.connection import Connection, load_configuration
from slipway.kube.metrics import WatchMetrics
from slipway.objects.kinds import DEPLOYMENT, LLM_DEPLOYMENT
from slipway.process.metrics import MetricsRegistry

MANAGER = "benchmark"
AT_ONCE = 32  # requests of the benchmark's own
CONTEXT, CHANGED_CONTEXT = 4096, 8192
QUIET_FOR = 5.0  # seconds without a write, after which a phase has come to rest
RESYNC = "60s"
STEADY_FOR, RESYNC_FOR = 60.0, 75.0
PHASES = ("create", "steady", "change", "restart", "resync", "delete")


@dataclass(frozen=True)
class ScaleOptions:
    number: int
    replicas: int
    kserve: bool
    patience: float  # seconds for a phase
    until: str  # the last phase
    planned: bool = False


@click.command()
@click.option("--number", "-n", type=click.IntRange(1, 50_000), default=1000, show_default=True, help="LLMDeployments.")
@click.option("--replicas", type=click.IntRange(0, 4), default=0, show_default=True, help="minReplicas of each.")
@click.option(
    "--kserve",
    type=click.Choice(["running", "paused"]),
    default="running",
    show_default=True,
    help="paused: its controller and webhooks are out of the way, so that only Slipway's own cost is seen.",
)
@click.option("--planned", is_flag=True, help="On GPUs, chosen among all profiles of the chart, and without replicas.")
@click.option("--patience", type=float, help="Seconds that a phase may take.  [default: 120 + a third per object]")
@click.option("--until", type=click.Choice(PHASES), default=PHASES[-1], show_default=True, help="The last phase.")
@click.option("--cluster-name", default="scale", show_default=True, help="The devcluster to make, and to remove.")
@click.option("--log", type=click.Path(path_type=Path), help="Where the operator's log goes.  [default: nowhere]")
@click.option("--save/--no-save", default=True, show_default=True, help="Write the results to benchmarks/results.")
def main(  # noqa: PLR0913 - click passes each option as an argument
    *,
    number: int,
    replicas: int,
    kserve: str,
    planned: bool,
    patience: float | None,
    until: str,
    cluster_name: str,
    log: Path | None,
    save: bool,
) -> None:
    """Measure what many LLMDeployments cost. Needs root."""
    if planned and replicas:
        raise click.UsageError("--planned is for models without replicas: leave out --replicas.")
    found = machine()
    options = ScaleOptions(number, replicas, kserve == "running", patience or 120 + number / 3, until, planned)
    with (
        tempfile.TemporaryDirectory() as folder,
        clusters.prepared(cluster_name, pods=2 * replicas * number, kserve=options.kserve, planned=planned) as cluster,
    ):
        phases = asyncio.run(measure(options, cluster.kubeconfig, log or Path(folder) / "operator.log"))
    click.echo("\n".join(["", *table(phases), "", *calls_told(phases), ""]))
    for name, value, budget in against_budgets(phases):
        click.echo(f"{name:26} {value:9.2f}   budget {budget:6.0f}   {'met' if value <= budget else 'NOT MET'}")
    if save:
        click.echo(f"written to {write(phases, options, found)}")


def write(phases: list[Phase], options: ScaleOptions, found: dict[str, object]) -> Path:
    now = datetime.now(UTC)
    kserve = "kserve" if options.kserve else "kserve-paused"
    result = {
        "benchmark": "operator_scale",
        "date": now.isoformat(timespec="seconds"),
        "command": shlex.join(["python", *sys.argv]),
        "machine": found,
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("slipway", "kopf", "kubernetes", "pydantic", "aiohttp")},
        "options": {name: getattr(options, name) for name in ("number", "replicas", "kserve", "planned")},
        "budgets": [dict(zip(("name", "measured", "budget"), row, strict=True)) for row in against_budgets(phases)],
        "phases": [phase.as_json() for phase in phases],
    }
    planned = "-planned" if options.planned else ""
    name = f"operator_scale-{options.number}-{kserve}-r{options.replicas}{planned}"
    return results.write(results.named(name), result)


def machine() -> dict[str, object]:
    """With its load: times are only worth something where it was low before."""
    cpu = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    memory = Path("/proc/meminfo").read_text().split()[1]
    return {
        "processors": len(cpu),
        "processor": cpu[0].partition(": ")[2] if cpu else platform.machine(),
        "memory_gib": round(int(memory) / 2**20, 1),
        "kernel": platform.release(),
        "load": round(os.getloadavg()[0], 2),
    }


# --- the phases ------------------------------------------------------------------------------------------------------


async def measure(options: ScaleOptions, kubeconfig: Path, log: Path) -> list[Phase]:
    configuration = await load_configuration(kubeconfig)
    connection = Connection(configuration)
    client = KubeClient(connection, WatchMetrics(MetricsRegistry()), patience=Patience(deadline=120.0, per_try=60.0))
    names = [f"model-{number:05}" for number in range(options.number)]
    stories = Stories(names, truth="True" if options.kserve else "False")
    run = partial(operator, kubeconfig, namespace=clusters.SLIPWAY, log=log, ports=options.number)
    try:
        async with observing(configuration, _heard(stories), clusters.MODELS):
            return await _Run(options, client, stories).phases(run)
    finally:
        await connection.close()


def _heard(stories: Stories) -> dict[Any, Any]:
    """The status is read of LLMDeployments alone; of all else, that it is there."""
    children = {kind: (METADATA_ALONE, partial(stories.hear_of, kind)) for kind in (*CHILDREN, DEPLOYMENT)}
    return {LLM_DEPLOYMENT: (EVERYTHING, partial(stories.hear_of, LLM_DEPLOYMENT)), **children}


class _EnoughError(Exception):
    """The last requested phase is over."""


class _Run:
    def __init__(self, options: ScaleOptions, client: KubeClient, stories: Stories) -> None:
        self._options, self._client, self._stories = options, client, stories
        self._phases: list[Phase] = []

    async def phases(self, run: Callable[..., Any]) -> list[Phase]:
        with suppress(_EnoughError):
            async with run(resync="10m") as process:
                click.echo(f"the operator is process {process.pid}")
                await self._create_and_change(process)
            async with run(resync=RESYNC) as process:
                await self._look_and_delete(process)
        return self._phases

    async def _create_and_change(self, process: OperatorProcess) -> None:
        async with self._phase("create", process):
            await self._each(partial(self._apply, context=CONTEXT))
            await self._until(self._is_told)
        async with self._phase("steady", process, rest=False):
            await asyncio.sleep(STEADY_FOR)
        async with self._phase("change", process):
            await self._each(partial(self._apply, context=CHANGED_CONTEXT))
            await self._until(self._is_told)

    async def _look_and_delete(self, process: OperatorProcess) -> None:
        async with self._phase("restart", process, before=Reading(at=time.monotonic())):
            pass
        async with self._phase("resync", process, rest=False):
            await asyncio.sleep(RESYNC_FOR)
        async with self._phase("delete", process):
            await self._each(self._delete)
            await self._until(lambda story: story.gone is not None)

    @asynccontextmanager
    async def _phase(
        self, name: str, process: OperatorProcess, *, rest: bool = True, before: Reading | None = None
    ) -> AsyncIterator[None]:
        """A phase, from its start until the operator is idle; the time of waiting for that is not counted."""
        for story in self._stories.by_name.values():
            story.ask(0.0)
        self._missing = 0
        process.oldest, before = 0.0, before or await process.read()
        yield
        after = await (self._rest(process) if rest else process.read())
        phase = phase_of(
            name, self._stories.by_name.values(), before, after, oldest=process.oldest, missing=self._missing
        )
        self._phases.append(phase)
        click.echo(
            f"{name}: {phase.seconds:.1f} s, {phase.writes_per_object:.2f} writes and "
            f"{phase.reconciles_per_object:.2f} turns per object, {phase.cpu_seconds:.1f} s of CPU, "
            f"{phase.rss_peak_mb:.0f} MB, {phase.missing} missing"
        )
        if name == self._options.until:
            raise _EnoughError

    async def _rest(self, process: OperatorProcess) -> Reading:
        """The first reading after which nothing was written for a while."""
        found = await process.read()
        while (now := await process.read()).at - found.at < QUIET_FOR:
            if now.writes() != found.writes() or now.queue_depth:
                found = now
            await asyncio.sleep(0.5)
        return found

    # --- what is done with each -------------------------------------------------------------------------------------

    async def _each(self, do: Callable[[str], Awaitable[object]]) -> None:
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(name: str, story: Story) -> None:
            async with slots:
                story.ask(time.monotonic())
                await do(name)

        await asyncio.gather(*(one(name, story) for name, story in self._stories.by_name.items()))

    async def _apply(self, name: str, *, context: int) -> None:
        if self._options.planned:
            thing = clusters.planned_deployment(name, context_length=context)
        else:
            thing = clusters.deployment(name, replicas=self._options.replicas, context_length=context)
        await self._client.apply(LLM_DEPLOYMENT, thing, manager=MANAGER)

    async def _delete(self, name: str) -> None:
        await self._client.delete(LLM_DEPLOYMENT, name, clusters.MODELS)

    def _is_told(self, story: Story) -> bool:
        return story.applied_at() is not None and story.true is not None

    async def _until(self, has_come: Callable[[Story], bool]) -> None:
        """Until it holds for all; those for which it doesn't in time are counted as missing."""
        deadline, told = time.monotonic() + self._options.patience, time.monotonic()
        while left := _number_of(self._stories.by_name.values(), has_come):
            if time.monotonic() > deadline:
                break
            if time.monotonic() - told > 10:
                told = time.monotonic()
                click.echo(f"  {left} of {self._options.number} to go")
            await asyncio.sleep(0.2)
        self._missing = left


def _number_of(stories: Iterable[Story], has_come: Callable[[Story], bool]) -> int:
    return sum(not has_come(story) for story in stories)


if __name__ == "__main__":
    main()
