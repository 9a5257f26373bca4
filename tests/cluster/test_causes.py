"""Each thing that can go wrong with a model's pods is made to happen, and its cause is read off the cluster.

With RECORD_CAUSES=1, what the cluster showed is kept as the fixtures of tests/unit/observing.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from slipway.observing.causes import cause_in
from slipway.observing.world import WorldView
from support import worlds
from support.kube import Kube
from support.provocations import PROVOCATIONS, Provocation

FIXTURES = Path(__file__).parents[1] / "unit" / "observing" / "fixtures"


@pytest.mark.parametrize("provocation", PROVOCATIONS, ids=lambda each: each.name)
async def test_the_cause_is_read_off_the_cluster(kube: Kube, python_image: str, provocation: Provocation) -> None:
    def is_read_off(world: WorldView) -> bool:
        cause = cause_in(world)
        return cause is not None and provocation.describes(cause)

    await kube.apply(*provocation.objects(python_image))
    world = await worlds.until(kube, is_read_off, timeout=provocation.timeout)
    if os.environ.get("RECORD_CAUSES"):
        worlds.save(world, FIXTURES / f"{provocation.name}.json")
