"""An API server in memory with pods, namespaces and Secrets, as far as the activator's access checks query it."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from slipway.activator.proxy.access.api_keys import ApiKeys
from slipway.activator.proxy.access.authorization import Authorizer
from slipway.activator.proxy.access.pod_lookup import PodLookup
from slipway.kube.client import KubeClient
from slipway.kube.connection import ApiResponse, NoResponseError, TooLongError
from slipway.kube.metrics import WatchMetrics
from slipway.objects.kinds import Object
from slipway.process.metrics import MetricsRegistry

from support.fakes.virtual_time import Clock


@dataclass
class AccessApi:
    """`is_away`: it doesn't respond. `hidden`: Secrets that may not be read; `closed`: namespaces without any
    rights."""

    pods: list[Object] = field(default_factory=list)
    namespaces: dict[str, dict[str, str]] = field(default_factory=dict)
    secrets: dict[str, dict[str, bytes]] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    closed: set[str] = field(default_factory=set)
    is_away: bool = False
    requests: list[str] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)
    after_pods: Callable[[], None] = lambda: None  # called right after a lookup of pods
    seconds_per_answer: float = 0.0  # seconds per response
    answers: asyncio.Event = field(default_factory=asyncio.Event)  # while it is unset, no response is sent

    def __post_init__(self) -> None:
        self.answers.set()

    def pod(
        self,
        address: str,
        *,
        namespace: str = "chat",
        labels: Mapping[str, str] | None = None,
        phase: str = "Running",
        host_network: bool = False,
    ) -> None:
        self.namespaces.setdefault(namespace, {"kubernetes.io/metadata.name": namespace})
        metadata = {"name": f"pod-{len(self.pods)}", "namespace": namespace, "labels": dict(labels or {})}
        spec = {"hostNetwork": True} if host_network else {}
        self.pods.append({"metadata": metadata, "spec": spec, "status": {"podIP": address, "phase": phase}})

    @property
    def client(self) -> KubeClient:
        return KubeClient(self, WatchMetrics(MetricsRegistry()), jitter=lambda: 0.0)  # type: ignore[arg-type]

    @property
    def authorizer(self) -> Authorizer:
        return Authorizer(
            PodLookup(self.client, clock=self.clock, again_after=()), ApiKeys(self.client, clock=self.clock)
        )

    # --- requests of the client -------------------------------------------------------------------------------------

    async def send(self, method: str, path: str, *, at_most: int | None = None, **_: Any) -> ApiResponse:
        answer = await self._answer(path)
        if at_most is not None and len(answer.data) > at_most:
            raise TooLongError(f"more than {at_most} bytes are too many here")
        return answer

    async def _answer(self, path: str) -> ApiResponse:
        self.requests.append(path)
        await self.answers.wait()
        await asyncio.sleep(self.seconds_per_answer)
        if self.is_away:
            raise NoResponseError("connection refused")
        where, _, query = path.partition("?")
        match where.strip("/").split("/"):
            case ["api", "v1", "pods"]:
                found = self._pods_at(query)
                self.after_pods()
                return _answer(200, {"metadata": {}, "items": found})
            case ["api", "v1", "namespaces", namespace, "pods"]:
                if namespace in self.closed:
                    return _answer(403, {"message": f"pods in {namespace} are forbidden"})
                found = [pod for pod in self._pods_at(query) if pod["metadata"]["namespace"] == namespace]
                return _answer(200, {"metadata": {}, "items": found})
            case ["api", "v1", "namespaces", name]:
                labels = self.namespaces.get(name)
                return _missing(name) if labels is None else _answer(200, {"metadata": {"labels": labels}})
            case ["api", "v1", "namespaces", namespace, "secrets", name]:
                return self._secret(f"{namespace}/{name}")
        raise AssertionError(f"the activator should not query {path}")

    def _pods_at(self, query: str) -> list[Object]:
        wanted = parse_qs(query)["fieldSelector"][0].removeprefix("status.podIP=")
        return [pod for pod in self.pods if pod["status"]["podIP"] == wanted]

    def _secret(self, place: str) -> ApiResponse:
        if place in self.hidden:
            return _answer(403, {"message": f"secrets {place} is forbidden", "details": {"name": place}})
        if place not in self.secrets:
            return _missing(place)
        data = {owner: base64.b64encode(text).decode() for owner, text in self.secrets[place].items()}
        return _answer(200, {"metadata": {}, "data": data})


def _missing(name: str) -> ApiResponse:
    return _answer(404, {"message": f"{name} not found", "details": {"name": name}})


def _answer(code: int, thing: Object) -> ApiResponse:
    return ApiResponse(code, {}, json.dumps(thing).encode())
