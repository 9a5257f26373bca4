"""SIGTERM while the API server responds slowly, or not at all."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest
from support.cluster import Kube
from support.faults.api_faults import Delays, Fault, Hangs, Refuses, but_watches
from support.faults.replicas import Replica
from support.load.fleet import Fleet

FAULTS: dict[str, Fault] = {
    "slow": Delays(seconds=3),
    "mute": Hangs(on=but_watches),
    "refusing": Refuses(code=429, retry_after=5),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_the_operator_ends_well_within_10_seconds(kube: Kube, replica: Replica, fleet: Fleet, fault: str) -> None:
    with replica.path.broken_by(FAULTS[fault]):
        start = time.monotonic()
        await fleet.change_everything()
        await replica.path.until(lambda: replica.path.writes(kube.namespace, since=start))
        replica.operator.send(signal.SIGTERM)
        assert await asyncio.to_thread(replica.operator.ended, within=10) == 0
