"""Watches that the benchmark opens itself: each event of the API server, with the moment at which it arrived."""

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
TOO_EARLY = 429  # the API server's response for a type that was registered a moment ago

OnEvent = Callable[[float, str, Object], None]
"""Called with the moment of arrival (monotonic clock), the type (ADDED, MODIFIED, DELETED) and the object."""


class WatchEndedError(Exception):
    """A watch ended with an error; without the later events, the figures would be wrong."""


@asynccontextmanager
async def observing(
    configuration: Any, kinds: Mapping[Kind, tuple[str, OnEvent]], namespace: str
) -> AsyncIterator[None]:
    """Watch the kinds while the block runs; `kinds` has for each the Accept header and the callback."""
    connector = aiohttp.TCPConnector(ssl=_trusting(configuration), limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    session = aiohttp.ClientSession(connector=connector, timeout=timeout, read_bufsize=LARGEST_LINE)
    async with session, asyncio.TaskGroup() as group:
        watches = [
            group.create_task(_watch(session, configuration.host + kind.path(namespace), accept, on_event))
            for kind, (accept, on_event) in kinds.items()
        ]
        yield
        for watch in watches:
            watch.cancel()


async def _watch(session: aiohttp.ClientSession, url: str, accept: str, on_event: OnEvent) -> None:
    """The API server may end a watch at any time; the next one continues where the last one ended."""
    query = {"watch": "true", "timeoutSeconds": str(LONGEST)}
    while True:
        async with session.get(url, params=query, headers={"Accept": accept}) as response:
            if response.status != TOO_EARLY:
                response.raise_for_status()
                if version := await _pass_on(response, on_event):
                    query["resourceVersion"] = version
        await asyncio.sleep(0.1)


async def _pass_on(response: aiohttp.ClientResponse, on_event: OnEvent) -> str | None:
    """Pass each event on, and return the last resourceVersion."""
    version = None
    async for line in response.content:
        arrived = time.monotonic()
        event = json.loads(line)
        if event["type"] == "ERROR":
            raise WatchEndedError(f"a watch was refused: {event['object']}")
        on_event(arrived, event["type"], event["object"])
        version = event["object"]["metadata"]["resourceVersion"]
    return version


def _trusting(configuration: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    return context
