"""The test process as a server that pods can reach: the scaler that KEDA calls, or a substitute for pods."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

from support.builders.objects import Object

Enter = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True)
class ReachableServer:
    """Listens at an address that pods can reach; `enter` enters the network namespace that has the address."""

    address: str
    enter: Enter

    def listener(self) -> socket.socket:
        """Returns a socket that listens on a free port of the address."""
        with self.enter():
            return socket.create_server((self.address, 0))

    @asynccontextmanager
    async def relay(self, port: int) -> AsyncGenerator[int]:
        """Forwards connections to a port of this machine's loopback; yields the port that pods can reach.

        For servers that open their sockets on their own, in another network namespace.
        """
        listener = self.listener()
        server = await asyncio.start_server(lambda reader, writer: _relay(reader, writer, port), sock=listener)
        async with _closed(server):
            yield int(listener.getsockname()[1])

    @asynccontextmanager
    async def url_of(self, url: str) -> AsyncGenerator[str]:
        """The URL by which pods reach a server of this machine's loopback."""
        parts = urlsplit(url)
        async with self.relay(parts.port or 80) as port:
            yield f"{parts.scheme}://{self.address}:{port}"

    @asynccontextmanager
    async def http(self, handler: Handler, *, tls: ssl.SSLContext | None = None) -> AsyncGenerator[int]:
        """Answers HTTP requests to any path by the handler; yields the port."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        listener = self.listener()
        try:
            await web.SockSite(runner, listener, ssl_context=tls).start()
            yield int(listener.getsockname()[1])
        finally:
            await runner.cleanup()

    def service(self, name: str, port: int) -> list[Object]:
        """A Service without pods that leads to a port of the test process."""
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {"ports": [{"name": "tester", "port": port}]},
        }
        return [service, self.endpoint_slice(f"{name}-tester", service=name, port_name="tester", port=port)]

    def endpoint_slice(self, name: str, *, service: str, port_name: str, port: int) -> Object:
        """One more source of endpoints for a Service, besides its selector."""
        return {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": name,
                "labels": {
                    "kubernetes.io/service-name": service,
                    "endpointslice.kubernetes.io/managed-by": "slipway-tests",
                },
            },
            "addressType": "IPv4",
            "ports": [{"name": port_name, "port": port, "protocol": "TCP"}],
            "endpoints": [{"addresses": [self.address], "conditions": {"ready": True}}],
        }


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.gather(_copy(reader, onward_writer), _copy(onward_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def _closed(server: asyncio.Server) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        server.close()
