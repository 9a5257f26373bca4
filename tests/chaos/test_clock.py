"""The machine's clock jumps forward and back."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest
from slipway_devcluster.cluster import Cluster
from support.builders.llmdeployments import on_own_engine, own_runtime
from support.cluster import Kube, events_with, settled
from support.faults import convergence, replicas
from support.load.fleet import Fleet

TESTS = Path(__file__).parents[1]


async def test_clock_jumps_neither_stop_reconciling_nor_cause_writes(
    node: Cluster,
    kube: Kube,
    weights: None,
    tmp_path: Path,
    chance: random.Random,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    program = (sys.executable, "-m", "support.faults.jumping_clock", str(chance.random()))
    async with replicas.replica(node.kubeconfig, tmp_path, program=program) as replica:
        fleet = Fleet(kube, chance)
        await fleet.create(5)
        await convergence.until_converged(kube, within=60)
        await fleet.change_everything()
        await convergence.until_converged(kube, within=60)
        await kube.apply(own_runtime())
        await settled(kube, on_own_engine("served"), "Serving")
        await events_with(kube, "Serving", "served")
        await convergence.stays_still(kube, replica.path, seconds=10)
        assert [term.holder for term in replicas.terms([replica.path])] == ["a"]
