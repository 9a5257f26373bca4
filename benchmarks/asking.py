"""A client in the node's network, where the addresses of Services lead somewhere, and what it measures of an answer."""

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


class NotAnsweredError(Exception):
    """Refused, broken off, or an error in place of an answer."""


@dataclass(frozen=True)
class Answer:
    text: str
    begun: float  # seconds until its head
    first: float  # seconds until the first token
    headers: Mapping[str, str]
    comments: int  # lines that told what happens meanwhile


@asynccontextmanager
async def client(
    cluster: Cluster, *, patience: float, keep_alive: bool = False
) -> AsyncIterator[aiohttp.ClientSession]:
    """Each request by a connection of its own, unless they are kept alive."""

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


async def ask(session: aiohttp.ClientSession, url: str, body: Mapping[str, Any], *, host: str | None = None) -> Answer:
    """One streamed completion, to its end."""
    began, first, text, comments, ended = time.monotonic(), 0.0, "", 0, False
    async with session.post(f"{url}/v1/completions", json=body, headers={"Host": host} if host else None) as response:
        begun = time.monotonic() - began
        if not response.ok:
            raise NotAnsweredError(f"{response.status}: {await response.text()}")
        async for line in response.content:
            said = line.decode().strip()
            comments += said.startswith(":")
            if said.startswith("data:"):
                first = first or time.monotonic() - began
                event = said.removeprefix("data:").strip()
                ended = event == "[DONE]"
                text += "" if ended else _text(json.loads(event))
    if not ended:
        raise NotAnsweredError(f"it broke off after {text!r}")
    return Answer(text, begun, first, response.headers, comments)


def _text(event: dict[str, Any]) -> str:
    if "error" in event:
        raise NotAnsweredError(str(event["error"]))
    return "".join(choice["text"] for choice in event["choices"])
