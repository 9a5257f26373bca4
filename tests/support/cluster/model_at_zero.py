"""A model at zero on a real cluster, and pods of two namespaces that send requests to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from support.builders import objects
from support.builders.llmdeployments import GEMMA_CLAIM, gemma
from support.cluster.client_pods import NOT_ANSWERED, request_from_pod
from support.cluster.kube import Kube
from support.cluster.namespaces import own_namespace
from support.waiting import until

PREDICTOR, OURS = "gemma-predictor", "slipway.dev/llmdeployment=gemma"
FRIEND = {"app": "friend"}
CLAIM = objects.claim(GEMMA_CLAIM, storage="1Mi", storageClassName="")
"""A claim that is never bound, since it wants no class: a pod is created and doesn't start. Without any claim, none
would be created."""


@dataclass
class ModelAtZero:
    """A model at zero in a namespace, and a second namespace."""

    own: Kube
    other: Kube

    async def request(
        self,
        line: str = "POST /v1/completions",
        *,
        within: Kube | None = None,
        labels: dict[str, str] | None = None,
        key: str = "",
        to: str = "",
    ) -> tuple[int, str]:
        """Sends a request from a pod; returns the status, and the code of an error."""
        url = f"http://{to or f'gemma.{self.own.namespace}.svc'}"
        headers = {"X-Api-Key": key} if key else {}
        return await request_from_pod(within or self.own, url, line, labels=labels, headers=headers)

    async def activators_port(self) -> str:
        """Returns the address of the activator's own port, which any client could find and use instead of the
        Service."""
        slices = await self.own.select("endpointslice", "kubernetes.io/service-name=gemma")
        ours = next(each for each in slices if each["metadata"]["name"] == "gemma-activator")
        return f"{ours['endpoints'][0]['addresses'][0]}:{ours['ports'][0]['port']}"

    async def is_asleep(self) -> bool:
        found = await self.own.get("deployment", PREDICTOR)
        return bool(found["spec"]["replicas"] == 0)

    async def wakes(self, **asked: Any) -> None:
        """Sends a request that is held, and waits until a pod is created for it; the pod can't start."""
        assert await self.request(**asked) == (NOT_ANSWERED, "")
        await self.own.wait_for_any("pods", OURS, lambda _: True)


@asynccontextmanager
async def model_at_zero(kube: Kube, **spec: Any) -> AsyncIterator[ModelAtZero]:
    async with own_namespace(kube) as other:
        await kube.apply(CLAIM, gemma(min_replicas=0, **spec))
        await kube.wait_for_condition("scaledobject", "gemma", "Ready", timeout=60)
        found = ModelAtZero(kube, other)
        await until(lambda: is_answered(found.request("GET /nothing", labels=FRIEND), 404))
        yield found
        await kube.delete("llmdeployment", "gemma", wait=True)


async def is_answered(asked: Awaitable[tuple[int, str]], status: int) -> bool:
    return (await asked)[0] == status
