"""Two tenants at one activator, in memory: a real operator's loop, the real table, real listeners on loopback.

The victim's model is `chat/llama`; `evil` is a tenant that writes whatever it likes in a namespace of its own.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from slipway.activator.proxy import listeners
from slipway.activator.shared.demand import Demand
from slipway.activator.shared.model_state import ModelStates
from slipway.activator.tracking.listener_ports import ListenerPorts
from slipway.activator.tracking.tracker import Tracker
from slipway.activator.tracking.watches import ActivatorService, watches
from slipway.api.model_key import ModelKey
from slipway.api.names import activator_slice_name
from slipway.kube.store import Store
from slipway.kube.work_queue import RetryLaterError
from slipway.objects.kinds import (
    ACCELERATOR_PROFILE,
    CLUSTER_SERVING_RUNTIME,
    CONFIG_MAP,
    ENDPOINT_SLICE,
    LLM_DEPLOYMENT,
    POD,
    SERVICE,
    Object,
)
from slipway.observing.keeping import FOUND_BY

from support.builders.stored import kube_object
from support.fakes.scripted_engine import ScriptedEngine
from support.programs.operator_loop import NOW, Loop, is_selected

HOME = ActivatorService("slipway-system", "slipway-activator")
VICTIM, TRAP = ModelKey("chat", "llama"), ModelKey("evil", "trap")
READY = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-21T09:00:00Z"}
HOST = f"127.{os.getpid() % 250 + 1}.{os.getpid() // 250 % 250}.9"
"""An address of this process alone: the listeners have the ports that the operator has chosen."""


class NoPoller:
    """A poller that polls no pod."""

    def follow(self, *_: object) -> None:
        pass


class Activator:
    """One replica: it learns what the cluster shows when a test calls `look`."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._ports = ListenerPorts(HOME.service, lambda name: self._store.get(CONFIG_MAP, name, HOME.namespace))
        self._watches = watches(HOME, self._ports.concerns)
        kinds = [watch.kind for watch in self._watches]
        self._store = Store(kinds, packed=[watch.kind for watch in self._watches if watch.packed], index_by=FOUND_BY)
        self.deployments = ModelStates()
        self.knowledge = Tracker(
            self._store, self.deployments, port_of=self._ports.port_of, now=lambda: NOW, clock=lambda: 0.0
        )
        self.knowledge.metrics_poller = self.knowledge.readiness_poller = NoPoller()  # type: ignore[assignment]

    def look(self) -> None:
        """Processes the changes, and then everything."""
        for watch in self._watches:
            there = [each for (kind, *_), each in self._loop.api.objects.items() if kind == watch.kind]
            selected = [each for each in there if is_selected(watch, each)]
            before = self._store.all(watch.kind)
            for each in selected:
                self._store.take(watch.kind, "MODIFIED", watch.shrunk(each), now=0)
            gone = self._store.compare(watch.kind, selected, since=self._store.mark, now=0).ghosts
            for each in [*gone, *(each for each in selected if each not in before)]:
                for key in watch.keys(each):
                    if isinstance(key, ModelKey):
                        self.knowledge.refresh(key)
        self.knowledge.refresh_all()


@dataclass
class Tenants:
    loop: Loop
    engines: dict[str, ScriptedEngine]  # by namespace

    # --- what they write --------------------------------------------------------------------------------------------

    def deploy(self, key: ModelKey, **spec: Any) -> Object:
        wanted = {"model": {"uri": "pvc://models/llama"}, "engine": {"name": "llamacpp"}, **spec}
        return self.loop.api.put(kube_object(LLM_DEPLOYMENT, key.name, key.namespace, spec=wanted))

    def run_pod(self, key: ModelKey, *, namespace: str = "") -> None:
        """Creates a ready pod that claims to belong to the deployment."""
        namespace = namespace or key.namespace
        status = {"conditions": [READY], "podIP": "127.0.0.1", "phase": "Running"}
        metadata = {"labels": labels(key.name), "creationTimestamp": "2026-11-21T09:00:00Z"}
        pod = kube_object(POD, f"{key.name}-pod", namespace, metadata=metadata, spec={"containers": []}, status=status)
        self.loop.api.put(pod)

    def serve(self, key: ModelKey, **metadata: Any) -> None:
        """Creates a Service as the operator makes it, with the tenant's own engine behind it."""
        spec = {"ports": [{"port": 80, "targetPort": self.engines[key.namespace].port}]}
        self.loop.api.put(
            kube_object(SERVICE, key.name, key.namespace, metadata={"labels": labels(key.name), **metadata}, spec=spec)
        )

    def add_slice(self, key: ModelKey, port: int, *, uid: str = "") -> None:
        """Creates an EndpointSlice as the operator makes it, to a port that the tenant has chosen."""
        uid = uid or str(self.loop.api.get(LLM_DEPLOYMENT, namespace=key.namespace, name=key.name)["metadata"]["uid"])
        owner = {"apiVersion": "slipway.dev/v1alpha1", "kind": "LLMDeployment", "name": key.name, "uid": uid}
        extra = {
            "kubernetes.io/service-name": key.name,
            "slipway.dev/activator": HOME.service,
            "endpointslice.kubernetes.io/managed-by": "slipway",
        }
        metadata = {"labels": {**labels(key.name), **extra}, "ownerReferences": [{**owner, "controller": True}]}
        slice_ = kube_object(ENDPOINT_SLICE, activator_slice_name(key.name), key.namespace, metadata=metadata)
        ports = [{"name": "http", "port": port, "protocol": "TCP"}]
        self.loop.api.put({**slice_, "addressType": "IPv4", "ports": ports, "endpoints": [{"addresses": ["10.0.0.8"]}]})

    # --- the result -------------------------------------------------------------------------------------------------

    async def reconcile(self, *keys: ModelKey) -> None:
        """Reconciles a few times; a failed reconcile is repeated."""
        for key in keys * 5:
            with suppress(RetryLaterError):
                await self.loop.reconcile(key)
        self._route()

    def _route(self) -> None:
        """Points the Services to the engines' real ports: the engines can't listen where pods do."""
        for kind, namespace, name in list(self.loop.api.objects):
            if kind == SERVICE:
                ports = [{"port": 80, "targetPort": self.engines[namespace].port}]
                self.loop.api.change(SERVICE, {"spec": {"ports": ports}}, namespace=namespace, name=name)

    def port_of(self, key: ModelKey) -> int:
        """Returns the port to which its Service leads."""
        extra = self.loop.api.get(ENDPOINT_SLICE, namespace=key.namespace, name=activator_slice_name(key.name))
        return int(extra["ports"][0]["port"])

    @asynccontextmanager
    async def activator(self) -> AsyncIterator[Activator]:
        made = Activator(self.loop)
        async with listeners.serve(made.deployments, Demand(), host=HOST, grace=0):
            made.look()
            yield made


def labels(name: str) -> dict[str, str]:
    return {"slipway.dev/llmdeployment": name, "app.kubernetes.io/managed-by": "slipway"}


async def ask(port: int) -> str:
    """Returns the response to a client there; empty if nothing listens."""
    try:
        reader, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return ""
    try:
        writer.write(b"GET /v1/models HTTP/1.1\r\nHost: llama\r\nConnection: close\r\n\r\n")
        return (await asyncio.wait_for(reader.read(), 10)).decode().rpartition("\r\n")[2]
    finally:
        writer.close()


async def until_open(port: int) -> str:
    """Waits until something listens; returns its response."""
    async with asyncio.timeout(10):
        while not (answer := await ask(port)):  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.01)
    return answer


def platform(loop: Loop, kinds: Iterable[Any] = ()) -> None:
    """Adds an activator, an engine, and an accelerator."""
    loop.api.missing = set(kinds)
    slice_labels = {"slipway.dev/activator": HOME.service, "kubernetes.io/service-name": HOME.service}
    endpoints = [{"addresses": ["10.0.0.8"], "conditions": {"ready": True}}]
    slice_ = kube_object(ENDPOINT_SLICE, "slipway-activator-1", HOME.namespace, metadata={"labels": slice_labels})
    loop.api.put({**slice_, "endpoints": endpoints})
    cpu = {"vendor": "CPU", "resource": {"name": "cpu", "count": 1}, "memory": "16Gi"}
    loop.api.put(kube_object(ACCELERATOR_PROFILE, "cpu", spec=cpu))
    runtime = {"supportedModelFormats": [{"name": "gguf"}], "containers": [{"name": "kserve-container"}]}
    loop.api.put(kube_object(CLUSTER_SERVING_RUNTIME, "slipway-llamacpp", spec=runtime))
