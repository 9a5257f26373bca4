"""Tests over sockets run on both event loops, the activator's own and Python's, and on real ports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop
from support.fakes.scripted_engine import ScriptedEngine, scripted_engine
from support.programs.activator import Activator, activated

OVER_SOCKETS = {
    "test_forwarding",
    "test_failing_replicas",
    "test_held_requests",
    "test_abuse",
    "test_keep_alive",
    "test_upstream_pool",
}


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.path.stem in OVER_SOCKETS:
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}


@pytest.fixture
async def engine() -> AsyncIterator[ScriptedEngine]:
    async with scripted_engine() as engine:
        yield engine


@pytest.fixture
async def activator(engine: ScriptedEngine) -> AsyncIterator[Activator]:
    """An activator with one model, which has a replica."""
    async with activated() as activator:
        activator.ready(engine)
        yield activator
