"""Access at zero, on a real cluster: pods of two namespaces ask a model that sleeps, and only who may ask wakes it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from slipway_devcluster.cluster import Cluster
from support.asking_pods import NOT_ANSWERED, ask
from support.kube import Kube, Object
from support.namespaces import own_namespace
from support.rendered import MANIFESTS, gemma

PREDICTOR, OURS = "gemma-predictor", "slipway.dev/llmdeployment=gemma"
ALICE, BOB = "sk-alice-1234", "sk-bob-12345"
FRIEND = {"app": "friend"}
CLAIM: Object = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "gemma"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
}
"""Of a volume that never comes: a pod is made, and doesn't start. Without any claim, none would be woken."""


@dataclass
class Scene:
    """A model at zero in a namespace, and another namespace beside it."""

    own: Kube
    other: Kube

    async def ask(
        self,
        line: str = "POST /v1/completions",
        *,
        within: Kube | None = None,
        labels: dict[str, str] | None = None,
        key: str = "",
        to: str = "",
    ) -> tuple[int, str]:
        """The status of what a pod is answered, and the code of an error."""
        url = f"http://{to or f'gemma.{self.own.namespace}.svc'}"
        headers = {"X-Api-Key": key} if key else {}
        return await ask(within or self.own, url, line, labels=labels, headers=headers)

    async def activators_port(self) -> str:
        """A way past the Service, as anybody may find it."""
        slices = await self.own.select("endpointslice", "kubernetes.io/service-name=gemma")
        ours = next(each for each in slices if each["metadata"]["name"] == "gemma-activator")
        return f"{ours['endpoints'][0]['addresses'][0]}:{ours['ports'][0]['port']}"

    async def sleeps(self) -> bool:
        found = await self.own.get("deployment", PREDICTOR)
        return bool(found["spec"]["replicas"] == 0)

    async def wakes(self, **asked: Any) -> None:
        """A pod is made for such a request, which can't start."""
        assert await self.ask(**asked) == (NOT_ANSWERED, "")
        await self.own.wait_for_any("pods", OURS, lambda _: True)


@asynccontextmanager
async def scene(cluster: Cluster, kube: Kube, **spec: Any) -> AsyncIterator[Scene]:
    async with own_namespace(kube) as other:
        await kube.apply(CLAIM, gemma(min_replicas=0, **spec))
        await kube.wait_for_condition("scaledobject", "gemma", "Ready", timeout=60)
        found = Scene(kube, other)
        await _until(lambda: _is(found.ask("GET /nothing", labels=FRIEND), 404))
        yield found
        await kube.delete("llmdeployment", "gemma", wait=True)


async def _is(asked: Awaitable[tuple[int, str]], status: int) -> bool:
    return (await asked)[0] == status


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Nobody tells when the network leads somewhere else, or when rights count, so it is tried again and again."""
    async with asyncio.timeout(60):
        while not await holds():  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.5)


async def test_only_pods_that_are_named_wake_a_model(operator_pods: Cluster, neighbour_kube: Kube) -> None:
    allowed = {"allowFrom": [{"podSelector": {"matchLabels": FRIEND}}]}
    async with scene(operator_pods, neighbour_kube, access=allowed) as asked:
        assert await asked.ask() == (403, "not_allowed_from_here")
        assert await asked.ask(within=asked.other, labels=FRIEND) == (403, "not_allowed_from_here")
        past_the_service = await asked.activators_port()
        assert await asked.ask(within=asked.other, labels=FRIEND, to=past_the_service) == (403, "not_allowed_from_here")
        assert await asked.ask("GET /v1/models", labels=FRIEND) == (200, "")
        assert await asked.sleeps()
        await asked.wakes(labels=FRIEND)


async def test_a_namespace_is_named_by_labels_that_its_tenants_do_not_give_it(
    operator_pods: Cluster, neighbour_kube: Kube
) -> None:
    selector = {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "Exists"}]}
    among = {"matchLabels": {"team": "blue"}}
    peers = [{"namespaceSelector": among}, {"namespaceSelector": selector, "podSelector": {"matchLabels": FRIEND}}]
    async with scene(operator_pods, neighbour_kube, access={"allowFrom": peers}) as asked:
        assert await asked.ask(within=asked.other, labels={"team": "blue"}) == (403, "not_allowed_from_here")
        await asked.other.run("label", "namespace", asked.other.namespace, "team=blue")
        await _until(lambda: _is(asked.ask("GET /health", within=asked.other), 200))
        assert await asked.sleeps()


def secret(**owners: str) -> Object:
    data = {owner: base64.b64encode(key.encode()).decode() for owner, key in owners.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "api-keys"}, "data": data}


async def test_a_key_that_is_rotated_while_the_model_sleeps_counts_within_seconds(
    operator_pods: Cluster, neighbour_kube: Kube
) -> None:
    await neighbour_kube.apply(secret(alice=ALICE))
    async with scene(operator_pods, neighbour_kube, access={"apiKeysSecret": "api-keys"}) as asked:
        await neighbour_kube.wait_for("llmdeployment", "gemma", lambda it: "keys-at-zero" in said(it))
        for each in yaml.safe_load_all((MANIFESTS / "samples/keys-at-zero.yaml").read_text()):
            await neighbour_kube.apply(each)
        assert await asked.ask() == (401, "missing_api_key")
        await _until(lambda: _is(asked.ask("GET /v1/models", key=ALICE), 200))
        assert await asked.ask(key=BOB) == (401, "invalid_api_key")
        await neighbour_kube.apply(secret(alice=BOB))
        await _until(lambda: _is(asked.ask("GET /v1/models", key=ALICE), 401))
        assert await asked.sleeps()
        await asked.wakes(key=BOB)


def said(deployment: Object) -> str:
    return " ".join(deployment.get("status", {}).get("plan", {}).get("why", []))


@pytest.mark.parametrize("line", ["GET /health", "OPTIONS /v1/models", "GET /v1/models/gemma"])
async def test_nobody_wakes_a_model_by_looking_at_it(operator_pods: Cluster, neighbour_kube: Kube, line: str) -> None:
    async with scene(operator_pods, neighbour_kube) as asked:
        assert await asked.ask(line) == (200, "")
        await asked.own.never("pods", selector=OURS, seconds=3)
