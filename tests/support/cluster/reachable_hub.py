"""The test's own Hugging Face Hub at an address that pods reach; it counts the bytes of files that it has sent."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from support.cluster.tester import ReachableServer
from support.fakes.hub import FakeHub, Repository, hub


@asynccontextmanager
async def hub_for_pods(tester: ReachableServer, **repositories: Repository) -> AsyncGenerator[FakeHub]:
    """Yields the hub; its `url` is the endpoint for pods. Large files are at a second address, as in the real one."""
    with hub(**repositories) as server:
        async with tester.relay(_port(server.url)) as api, tester.relay(_port(server.storage)) as storage:
            server.url, server.storage = (f"http://{tester.address}:{port}" for port in (api, storage))
            yield server


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])
