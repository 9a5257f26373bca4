"""A client in the node's network, where Services are reachable, and what it measures of a streamed completion."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from slipway_devcluster.cluster import Cluster


class NoCompletionError(Exception):
    """The request was refused, the stream broke off, or it carried an error."""


@dataclass(frozen=True)
class Completion:
    """A streamed completion that arrived completely."""

    text: str
    response_after: float  # seconds until the head of the response
    first: float  # seconds until the first token
    headers: Mapping[str, str]
    comments: int  # lines in which the activator reports what a held request waits for


@asynccontextmanager
async def node_session(
    cluster: Cluster, *, patience: float, keep_alive: bool = False
) -> AsyncIterator[aiohttp.ClientSession]:
    """A session whose sockets are in the node's network; one connection per request, unless they are kept alive."""

    def of_the_node(address: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, *_ = address
        with cluster.entered():
            return socket.socket(family, kind, protocol)

    connector = aiohttp.TCPConnector(socket_factory=of_the_node, limit=0, force_close=not keep_alive)
    timeout = aiohttp.ClientTimeout(total=patience)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield session


def address_of(cluster: Cluster, service: str, namespace: str) -> str:
    words = ["get", "service", service, "-n", namespace, "-o", "jsonpath={.spec.clusterIP}"]
    return cluster.run_kubectl(words)


async def complete(
    session: aiohttp.ClientSession, url: str, body: Mapping[str, Any], *, host: str | None = None
) -> Completion:
    """Send a completion request, and read the stream to its end."""
    began, first, text, comments, ended = time.monotonic(), 0.0, "", 0, False
    async with session.post(f"{url}/v1/completions", json=body, headers={"Host": host} if host else None) as response:
        response_after = time.monotonic() - began
        if not response.ok:
            raise NoCompletionError(f"{response.status}: {await response.text()}")
        async for line in response.content:
            said = line.decode().strip()
            comments += said.startswith(":")
            if said.startswith("data:"):
                first = first or time.monotonic() - began
                event = said.removeprefix("data:").strip()
                ended = event == "[DONE]"
                text += "" if ended else _text(json.loads(event))
    if not ended:
        raise NoCompletionError(f"it broke off after {text!r}")
    return Completion(text, response_after, first, response.headers, comments)


def _text(event: dict[str, Any]) -> str:
    if "error" in event:
        raise NoCompletionError(str(event["error"]))
    return "".join(choice["text"] for choice in event["choices"])
