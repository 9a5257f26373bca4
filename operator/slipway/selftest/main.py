"""`slipway-selftest`: the program. Exit code 0 if all works, 1 if not, 2 when it was started wrongly."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import aiohttp

from slipway.kube.call_retries import Patience
from slipway.kube.client import KubeClient
from slipway.kube.connection import Connection, load_configuration
from slipway.kube.errors import KubeError
from slipway.kube.metrics import WatchMetrics
from slipway.operator.reconciling import flags as operator
from slipway.process import flags as shared
from slipway.process import lifecycle
from slipway.process.metrics import MetricsRegistry
from slipway.selftest import flags
from slipway.selftest.checks import Check, Checks
from slipway.selftest.flags import SelftestSettings

WELL, BAD = 0, 1
REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=5)
PATIENCE = Patience(deadline=15.0, per_try=10.0)


@shared.program(
    "slipway-selftest",
    "Checks whether all parts of an installation of Slipway work together, and prints the remedy for what does not.",
)
@shared.kubeconfig
@shared.namespace
@operator.activators
@shared.keda_namespace
@operator.lease_name
@flags.pod
@flags.pod_uid
def main(**given: Any) -> None:
    settings = SelftestSettings(**given)
    sys.exit(lifecycle.run(partial(check_all, settings), log_level="warning", log_format="console"))


async def check_all(settings: SelftestSettings, asked_to_end: asyncio.Event) -> int:
    """The exit code. Asked to end before all is known, it deletes what it has created."""
    async with Connection(await load_configuration(settings.kubeconfig)) as connection:
        client = KubeClient(connection, WatchMetrics(MetricsRegistry()), patience=PATIENCE)
        checking = asyncio.create_task(report(Checks(settings, client, get).all(), write))
        asked = asyncio.create_task(asked_to_end.wait())
        await asyncio.wait([checking, asked], return_when=asyncio.FIRST_COMPLETED)
        if not checking.done():
            write("Ended before all was known.\n")
            checking.cancel()
            await asyncio.wait([checking])
            return BAD
        asked.cancel()
        return checking.result()


async def report(checks: Sequence[Check], write: Callable[[str], object]) -> int:
    """Runs all checks at the same time, since most of them wait, and writes a line for each, in their order.

    Returns the exit code.
    """
    bad = 0
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(_problem(check)) for check in checks]
        for check, task in zip(checks, running, strict=True):
            problem = await task
            bad += problem is not None
            write(f"well  {check.promise}\n" if problem is None else f"BAD   {check.promise}: {problem}.\n")
    write("All works together.\n" if not bad else f"{bad} of {len(checks)} don't work.\n")
    return BAD if bad else WELL


def write(line: str) -> None:
    """Without a buffer: a pod that is killed when its time is up has then reported what it knew."""
    sys.stdout.write(line)
    sys.stdout.flush()


async def _problem(check: Check) -> str | None:
    try:
        problem = await check.find_problem()
    except KubeError as error:
        problem = f"it can't be checked, because the API server says: {error}"
    return problem.rstrip(".") if problem else None


async def get(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession(timeout=REQUEST_TIMEOUT) as session:
        try:
            async with session.get(url) as response:
                return response.status, await response.text()
        except (TimeoutError, aiohttp.ClientError) as error:
            raise OSError(str(error) or f"no answer within {REQUEST_TIMEOUT.total:.0f} s") from error
