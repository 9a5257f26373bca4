"""`slipway-selftest`: the program. It ends with 0 if all works, with 1 if not, with 2 when it was started wrongly."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence

import aiohttp
from kubernetes.aio.config import ConfigException

from slipway.kube.client import KubeClient
from slipway.kube.connection import Connection, load_configuration
from slipway.kube.errors import KubeError
from slipway.kube.metrics import WatchMetrics
from slipway.kube.retries import Patience
from slipway.process.running import STARTED_WRONGLY
from slipway.selftest.checks import Check, Checks
from slipway.selftest.options import Options, parse

ANSWERS_WITHIN = aiohttp.ClientTimeout(total=5)
PATIENCE = Patience(deadline=15.0, per_try=10.0)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(sys.argv[1:] if arguments is None else arguments)
    try:
        return asyncio.run(look(options))
    except ConfigException as error:
        sys.stderr.write(f"No way to an API server ({error}): run in a pod, or name a --kubeconfig\n")
        return STARTED_WRONGLY


async def look(options: Options) -> int:
    connection = Connection(await load_configuration(options.kubeconfig))
    try:
        client = KubeClient(connection, WatchMetrics(), patience=PATIENCE)
        return await report(Checks(options, client, ask).all(), tell)
    finally:
        await connection.close()


async def report(checks: Sequence[Check], write: Callable[[str], object]) -> int:
    """All of them at once, since most of them wait; each is a line, in their order. The exit code."""
    bad = 0
    async with asyncio.TaskGroup() as tasks:
        looking = [tasks.create_task(_problem(check)) for check in checks]
        for check, look_ in zip(checks, looking, strict=True):
            problem = await look_
            bad += problem is not None
            write(f"well  {check.promise}\n" if problem is None else f"BAD   {check.promise}: {problem}.\n")
    write("All works together.\n" if not bad else f"{bad} of {len(checks)} don't work.\n")
    return 1 if bad else 0


def tell(line: str) -> None:
    """At once: a pod that is ended for its time has said what it knew."""
    sys.stdout.write(line)
    sys.stdout.flush()


async def _problem(check: Check) -> str | None:
    try:
        problem = await check.look()
    except KubeError as error:
        problem = f"it can't be told, because the API server says: {error}"
    return problem.rstrip(".") if problem else None


async def ask(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession(timeout=ANSWERS_WITHIN) as session:
        try:
            async with session.get(url) as answer:
                return answer.status, await answer.text()
        except (TimeoutError, aiohttp.ClientError) as error:
            raise OSError(str(error) or f"no answer within {ANSWERS_WITHIN.total:.0f} s") from error
