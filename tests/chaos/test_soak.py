"""Random faults, one after the other, under random changes by users: in the end, everything has converged.

--soak-minutes sets the duration, and --seed repeats the same random choices.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from pathlib import Path

import pytest
from slipway_devcluster.cluster import Cluster
from support.cluster import Kube, KubectlError
from support.faults import convergence, replicas
from support.faults.random_faults import RandomFaults
from support.load.fleet import Fleet

logger = logging.getLogger(__name__)

LONGEST = 3 * 60 * 60
HEALED_WITHIN = 180  # it takes over a minute until a hanging watch is restarted


@pytest.mark.timeout(LONGEST, func_only=True)
async def test_everything_converges_under_random_faults_and_only_the_leader_writes(
    node: Cluster, kube: Kube, tmp_path: Path, chance: random.Random, pytestconfig: pytest.Config
) -> None:
    ends_at = time.monotonic() + 60 * pytestconfig.getoption("soak_minutes")
    async with (
        replicas.replica(node.kubeconfig, tmp_path, "a") as first,
        replicas.replica(node.kubeconfig, tmp_path, "b", leads=False) as second,
    ):
        fleet, faults = Fleet(kube, chance), RandomFaults(node, [first, second], chance)
        await fleet.create(10)
        while time.monotonic() < ends_at:
            name, fault = faults.draw()
            logger.warning("%s begins", name)
            async with fault:
                await change_for(fleet, seconds=chance.uniform(1, 8))
            healed = await convergence.until_converged(kube, within=HEALED_WITHIN)
            logger.warning("%s is over, and the models had converged after %.1f s", name, healed)
            assert not replicas.unlawful_writes(kube.namespace, first.path, second.path)
        await convergence.stays_still(kube, first.path, second.path, seconds=5)


async def change_for(fleet: Fleet, *, seconds: float) -> None:
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        try:
            logger.warning("%s", await fleet.change())
        except KubectlError as error:  # the API server may not be back yet
            logger.warning("not changed: %s", error)
        await asyncio.sleep(0.2)
