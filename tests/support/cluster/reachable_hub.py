"""The test's own Hugging Face Hub at an address that pods reach; it counts the bytes of files that it has sent."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from support.cluster.tester import ReachableServer
from support.fakes.hub import FakeHub, Repository, hub


@asynccontextmanager
async def hub_for_pods(tester: ReachableServer, **repositories: Repository) -> AsyncGenerator[FakeHub]:
    """Yields the hub; its `url` is the endpoint for pods."""
    with hub(**repositories) as server:
        async with reachable(tester, server) as server.url:
            yield server


@asynccontextmanager
async def reachable(tester: ReachableServer, server: FakeHub) -> AsyncGenerator[str]:
    """The endpoint for pods; afterwards it is down, and what it has counted stays. Large files are at a second address,
    as in the real one."""
    own = server.storage
    async with tester.url_of(server.url) as endpoint, tester.url_of(own) as server.storage:
        yield endpoint
    server.storage = own
