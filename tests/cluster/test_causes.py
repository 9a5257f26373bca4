"""Each thing that can go wrong with a model's pods is made to happen, and its cause is read off the cluster.

With RECORD_CAUSES=1, what the cluster showed is kept as the fixtures of tests/unit/observing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import pytest
from slipway.observing.cause import Cause
from slipway.observing.causes import cause_in
from slipway.observing.world import WorldView
from support import worlds
from support.kube import Kube
from support.provocations import PROVOCATIONS, Provocation

FIXTURES = Path(__file__).parents[1] / "unit" / "observing" / "fixtures"


@pytest.mark.parametrize("provocation", PROVOCATIONS, ids=lambda each: each.name)
async def test_the_cause_is_read_off_the_cluster(kube: Kube, python_image: str, provocation: Provocation) -> None:
    await kube.apply(*provocation.objects(python_image))
    world = await until_read_off(kube, provocation)
    record(world, provocation.name)


async def until_read_off(kube: Kube, wanted: Provocation) -> WorldView:
    """The world in which the cause first is as it is wanted."""
    last: Cause | None = None
    try:
        async with asyncio.timeout(wanted.timeout), contextlib.aclosing(worlds.changing_worlds(kube)) as seen:
            async for world in seen:
                last = cause_in(world)
                if last and wanted.describes(last):
                    return world
    except TimeoutError:
        pass
    pytest.fail(f"{wanted.reason} with {wanted.words!r} was to be read off, and it was {last}")


def record(world: WorldView, name: str) -> None:
    if os.environ.get("RECORD_CAUSES"):
        FIXTURES.mkdir(exist_ok=True)
        worlds.save(world, FIXTURES / f"{name}.json")
