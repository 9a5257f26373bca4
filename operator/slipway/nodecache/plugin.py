"""The node plugin's process: its sockets for the kubelet, and the sweeps in between.

The socket of the registration appears last and disappears first, so that the kubelet knows the driver only while it
answers. What is mounted stays mounted while the plugin isn't there.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import grpc

from slipway.api.names import METRICS_PREFIX, NODE_CACHE_DRIVER
from slipway.kube.call_retries import Patience
from slipway.kube.client import KubeClient
from slipway.kube.connection import Connection
from slipway.kube.errors import KubeError
from slipway.kube.metrics import WatchMetrics
from slipway.nodecache._generated.csi_pb2_grpc import add_IdentityServicer_to_server, add_NodeServicer_to_server
from slipway.nodecache._generated.pluginregistration_pb2_grpc import add_RegistrationServicer_to_server
from slipway.nodecache.flags import NodeCacheSettings
from slipway.nodecache.layout import LOCK
from slipway.nodecache.metrics import NodeCacheMetrics
from slipway.nodecache.owners import Owners
from slipway.nodecache.services import Identity, Node, Registration
from slipway.nodecache.store import NodeStore
from slipway.process import lifecycle
from slipway.process.lifecycle import Part
from slipway.process.management import ManagementPort
from slipway.process.metrics import MetricsRegistry

logger = logging.getLogger(__name__)

PATIENCE = Patience(deadline=30.0, per_try=10.0)  # the kubelet waits two minutes for a call
NAMESPACES_EVERY = 10  # sweeps: then the API server is asked which namespaces still exist
ENDS_WITHIN = 5.0  # seconds, for calls in flight


class NodePlugin:
    def __init__(self, settings: NodeCacheSettings, configuration: Any) -> None:
        self._settings, self._configuration = settings, configuration
        self._registry = MetricsRegistry(METRICS_PREFIX)
        self._metrics = NodeCacheMetrics(self._registry, settings.node)
        self._store = NodeStore(settings.folder, settings.kubelet_folder / "pods", settings.limits, self._metrics)
        self._csi = settings.kubelet_folder / "plugins" / NODE_CACHE_DRIVER / "csi.sock"
        self._registration = Registration(self._csi)

    async def run(self, asked_to_end: asyncio.Event) -> None:
        self._settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        async with Connection(self._configuration) as connection:
            client = KubeClient(connection, WatchMetrics(MetricsRegistry()), patience=PATIENCE)
            owners = Owners(client)
            node = Node(self._settings.node, self._store, owners, self._metrics)
            stages = [
                [Part("sockets", lambda: self._answer(node))],
                [Part("sweeps", lambda: self._sweep(owners))],
            ]
            with alone(self._settings.folder / LOCK):
                self._store.open()
                try:
                    await lifecycle.serve(
                        stages, name="The node plugin", management=self._management(), asked_to_end=asked_to_end
                    )
                finally:
                    await self._store.finish()

    def _management(self) -> ManagementPort:
        registered = {"kubelet": lambda: None if self._registration.is_registered else "has not registered the driver"}
        return ManagementPort(metrics=self._registry, live={}, ready=registered, port=self._settings.management_port)

    async def _answer(self, node: Node) -> None:
        registration = self._settings.kubelet_folder / "plugins_registry" / f"{NODE_CACHE_DRIVER}-reg.sock"
        csi, registering = grpc.aio.server(), grpc.aio.server()
        add_IdentityServicer_to_server(Identity(version("slipway")), csi)
        add_NodeServicer_to_server(node, csi)
        add_RegistrationServicer_to_server(self._registration, registering)
        async with serving(csi, self._csi), serving(registering, registration):
            await asyncio.Event().wait()

    async def _sweep(self, owners: Owners) -> None:
        number = 0
        while True:
            gone = await self._gone(owners) if number % NAMESPACES_EVERY == 0 else frozenset[str]()
            try:
                await self._store.sweep(gone)
            except Exception:  # a tenant who finds one must not end the plugin, which all other pods need
                logger.exception("What is stored can't be counted; the next try is in a moment")
            number += 1
            await asyncio.sleep(self._settings.sweep_every)

    async def _gone(self, owners: Owners) -> frozenset[str]:
        """Uids of namespaces that no longer exist; one that can't be asked for counts as there."""
        gone = set[str]()
        for uid, name in self._store.namespaces.items():
            with contextlib.suppress(KubeError):
                if name and await owners.uid_of(name) != uid:
                    gone.add(uid)
        return frozenset(gone)


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Waits until no other process of the plugin runs on the node: an older one may be about to end."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@asynccontextmanager
async def serving(server: grpc.aio.Server, socket: Path) -> AsyncIterator[None]:
    _make_room(socket)
    server.add_insecure_port(f"unix://{socket}")
    await server.start()
    try:
        yield
    finally:
        _make_room(socket)  # for the next process
        await server.stop(ENDS_WITHIN)


def _make_room(socket: Path) -> None:
    """A process that was killed has left its socket."""
    socket.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    socket.unlink(missing_ok=True)
