"""Watches of the benchmark's own: what the API server tells, with the moment at which it arrived here."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from slipway.objects.kinds import Kind, Object

METADATA_ALONE = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
EVERYTHING = "application/json"
LONGEST = 4 * 3600  # seconds
LARGEST_LINE = 1 << 24
TOO_EARLY = 429  # what the API server answers for a type that it has known for a moment only

Hear = Callable[[float, str, Object], None]
"""Called with the moment of arrival (monotonic), ADDED, MODIFIED or DELETED, and the object."""


class WatchEndedError(Exception):
    """Figures would be wrong without what comes after."""


@asynccontextmanager
async def watching(configuration: Any, kinds: Mapping[Kind, tuple[str, Hear]], namespace: str) -> AsyncIterator[None]:
    """While the block lasts; `kinds` says for each what to accept and who hears of it."""
    connector = aiohttp.TCPConnector(ssl=_trusting(configuration), limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    session = aiohttp.ClientSession(connector=connector, timeout=timeout, read_bufsize=LARGEST_LINE)
    async with session, asyncio.TaskGroup() as group:
        watches = [
            group.create_task(_watch(session, configuration.host + kind.path(namespace), accept, hear))
            for kind, (accept, hear) in kinds.items()
        ]
        yield
        for watch in watches:
            watch.cancel()


async def _watch(session: aiohttp.ClientSession, url: str, accept: str, hear: Hear) -> None:
    """The API server ends watches when it likes; the next one goes on where the last one ended."""
    query = {"watch": "true", "timeoutSeconds": str(LONGEST)}
    while True:
        async with session.get(url, params=query, headers={"Accept": accept}) as response:
            if response.status != TOO_EARLY:
                response.raise_for_status()
                if version := await _hear_all(response, hear):
                    query["resourceVersion"] = version
        await asyncio.sleep(0.1)


async def _hear_all(response: aiohttp.ClientResponse, hear: Hear) -> str | None:
    """Returns the last resourceVersion."""
    version = None
    async for line in response.content:
        arrived = time.monotonic()
        event = json.loads(line)
        if event["type"] == "ERROR":
            raise WatchEndedError(f"a watch was refused: {event['object']}")
        hear(arrived, event["type"], event["object"])
        version = event["object"]["metadata"]["resourceVersion"]
    return version


def _trusting(configuration: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    return context
