"""How a test reaches the Services of a cluster: through sockets in the node's network, or through the API server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp

from support.cluster.kube import Kube

TIMEOUT = aiohttp.ClientTimeout(total=120, connect=10)


class ServiceAccess(Protocol):
    """Makes HTTP sessions, each request over a new connection, and knows the URLs of Services."""

    def session(self) -> AbstractAsyncContextManager[aiohttp.ClientSession]: ...

    async def url(self, service: str, port: int = 80) -> str:
        """Returns the URL of a Service of the namespace; paths are appended to it."""
        ...


@dataclass(frozen=True)
class FromTheNode:
    """As a process on the node: through kube-proxy and nothing else."""

    kube: Kube
    entered: Callable[[], AbstractContextManager[object]]

    @asynccontextmanager
    async def session(self, *, source: str = "") -> AsyncGenerator[aiohttp.ClientSession]:
        """`source`: an address of the node to send from, instead of the one that the kernel would choose."""
        own = (source, 0) if source else None
        connector = aiohttp.TCPConnector(socket_factory=self._socket, local_addr=own, limit=0, force_close=True)
        async with aiohttp.ClientSession(connector=connector, timeout=TIMEOUT) as session:
            yield session

    async def url(self, service: str, port: int = 80) -> str:
        found = await self.kube.get("service", service)
        return f"http://{found['spec']['clusterIP']}:{port}"

    def _socket(self, address: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, *_ = address
        with self.entered():
            return socket.socket(family, kind, protocol)


@dataclass(frozen=True)
class ThroughTheApiServer:
    """From anywhere that kubectl reaches the API server, which forwards requests to the pods of a Service."""

    kube: Kube
    proxy: str

    @asynccontextmanager
    async def session(self) -> AsyncGenerator[aiohttp.ClientSession]:
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with aiohttp.ClientSession(connector=connector, timeout=TIMEOUT) as session:
            yield session

    async def url(self, service: str, port: int = 80) -> str:
        return f"{self.proxy}/api/v1/namespaces/{self.kube.namespace}/services/{service}:{port}/proxy"


@asynccontextmanager
async def kubectl_proxy(kube: Kube) -> AsyncGenerator[str]:
    """Serves the API server on a free port of this machine, with kubectl's credentials; yields its URL."""
    process = await asyncio.create_subprocess_exec(
        *kube.command("proxy", "--port=0"), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    assert process.stdout
    try:
        said = (await process.stdout.readline()).decode().strip()  # Starting to serve on 127.0.0.1:PORT
        if not said.startswith("Starting to serve on "):
            raise RuntimeError(f"kubectl proxy did not start: {said}")
        yield f"http://{said.rpartition(' ')[2]}"
    finally:
        process.kill()
        await process.communicate()
