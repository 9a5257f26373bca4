"""A leader that was stopped during its work continues after another one has taken over."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from pathlib import Path

from slipway_devcluster.cluster import Cluster
from support.cluster import Kube
from support.faults import convergence, replicas
from support.faults.api_faults import Delays, writes_but_the_lease
from support.load.fleet import Fleet


async def test_a_leader_stopped_in_a_burst_of_writes_writes_nothing_once_another_one_leads(
    node: Cluster, kube: Kube, tmp_path: Path, chance: random.Random
) -> None:
    async with (
        replicas.replica(node.kubeconfig, tmp_path, "a") as first,
        replicas.replica(node.kubeconfig, tmp_path, "b", leads=False) as second,
    ):
        fleet = Fleet(kube, chance)
        await fleet.create(20)
        await convergence.until_converged(kube, within=90)
        with first.path.broken_by(Delays(seconds=1, on=writes_but_the_lease)):
            start = time.monotonic()
            await fleet.change_everything()
            await first.path.until(lambda: first.path.writes(kube.namespace, since=start))
            first.operator.send(signal.SIGSTOP)
            await asyncio.to_thread(second.operator.leads, within=20)
            first.operator.send(signal.SIGCONT)
            await asyncio.to_thread(first.operator.says, "does not lead any more", within=10)
        await fleet.change_everything()
        await convergence.until_converged(kube, within=90)
        await convergence.stays_still(kube, first.path, second.path, seconds=3)
        assert [term.holder for term in replicas.terms([first.path, second.path])] == ["a", "b"]
        assert not replicas.unlawful_writes(kube.namespace, first.path, second.path)
