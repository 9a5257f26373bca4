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
        replicas.replica(node.kubeconfig, tmp_path, "a") as old,
        replicas.replica(node.kubeconfig, tmp_path, "b", leads=False) as new,
    ):
        fleet = Fleet(kube, chance)
        await fleet.create(20)
        await convergence.until_converged(kube, within=90)
        with old.path.broken_by(Delays(seconds=1, on=writes_but_the_lease)):
            began = time.monotonic()
            await fleet.change_everything()
            await old.path.until(lambda: old.path.writes(kube.namespace, since=began))
            old.operator.send(signal.SIGSTOP)
            await asyncio.to_thread(new.operator.leads, within=20)
            old.operator.send(signal.SIGCONT)
            await asyncio.to_thread(old.operator.says, "does not lead any more", within=10)
        await fleet.change_everything()
        await convergence.until_converged(kube, within=90)
        await convergence.stays_still(kube, old.path, new.path, seconds=3)
        assert [term.holder for term in replicas.terms([old.path, new.path])] == ["a", "b"]
        assert not replicas.unlawful_writes(kube.namespace, old.path, new.path)
