"""A process that leads when it holds the Lease, and writes as fast as it can while it leads; it reports that on stdout.

python -m support.programs.lease_candidate KUBECONFIG NAMESPACE IDENTITY
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from slipway.kube.client import FieldManagers, KubeClient
from slipway.kube.connection import Connection, load_configuration
from slipway.kube.errors import KubeError, NotLeaderError
from slipway.kube.lease import LeaderElection
from slipway.kube.metrics import LeaderMetrics, WatchMetrics
from slipway.objects.kinds import CONFIG_MAP, LEASE
from slipway.process.metrics import MetricsRegistry

TESTS = Path(__file__).parents[2]
STARTED, LEADS, FOLLOWS = "started", "leads", "follows"
WRITTEN = "written"


async def main(kubeconfig: str, namespace: str, identity: str) -> None:
    connection, metrics = Connection(await load_configuration(Path(kubeconfig))), MetricsRegistry()
    client = KubeClient(connection, WatchMetrics(metrics), managers=FieldManagers(objects="replicas"))
    election = LeaderElection(
        client, LeaderMetrics(metrics), namespace=namespace, name="replicas", identity=identity, on_change=_say
    )
    asked_to_stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked_to_stop.set)
    await client.find(LEASE, "replicas", namespace)
    _print(STARTED)
    tasks = [
        asyncio.create_task(election.run()),
        asyncio.create_task(_write(client.with_(guard=election.guard), namespace, identity)),
    ]
    await asked_to_stop.wait()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await election.release()
    await connection.close()


async def _write(client: KubeClient, namespace: str, identity: str) -> None:
    thing = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": WRITTEN, "namespace": namespace}}
    number = 0
    while True:
        number += 1
        try:
            await client.apply(CONFIG_MAP, {**thing, "data": {"writer": identity, "number": str(number)}})
        except (NotLeaderError, KubeError):
            await asyncio.sleep(0.02)


def _say(leads: bool) -> None:
    _print(LEADS if leads else FOLLOWS)


def _print(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


# --- for the tests that start it -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LeaseCandidate:
    process: asyncio.subprocess.Process

    async def until_printed(self, word: str, *, within: float) -> None:
        assert self.process.stdout
        async with asyncio.timeout(within):
            assert (await self.process.stdout.readline()).decode().strip() == word

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


@asynccontextmanager
async def started(kubeconfig: Path, namespace: str, identity: str) -> AsyncGenerator[LeaseCandidate]:
    arguments = ["-m", "support.programs.lease_candidate", str(kubeconfig), namespace, identity]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=TESTS, stdout=asyncio.subprocess.PIPE
    )
    try:
        candidate = LeaseCandidate(process)
        await candidate.until_printed(STARTED, within=60)
        yield candidate
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
