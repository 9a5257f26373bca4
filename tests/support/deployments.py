"""LLMDeployments for tests of the operator: small ones, what is made for them, and what their status must say."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from slipway.api.names import OWNER_LABEL

from support.kube import Kube, Object, Predicate
from support.objects import PAUSE
from support.slipway_api import llmdeployment, merged

NAME = "model"
PREDICTOR = f"{NAME}-predictor"
OURS = f"{OWNER_LABEL}={NAME}"
CHILDREN = ("service", "networkpolicy", "inferenceservice")
MADE = (*CHILDREN, "deployment")
"""With the one that KServe makes."""

CLASS = "serving.kserve.io/autoscalerClass"
OWN_ENGINE = "own"
"""A ServingRuntime of the namespace, so that a test says what runs in the pods."""

READY_AT_ONCE = {"tcpSocket": {"host": "127.0.0.1", "port": 10248}, "periodSeconds": 1}
"""The kubelet probes itself; without any probe, KServe adds one of a port on which these containers don't listen."""

NEW_VERSION: Object = {"spec": {"pod": {"env": [{"name": "APP_A", "value": "1"}]}}}
"""A change for which other pods are needed."""


# --- objects ---------------------------------------------------------------------------------------------------------


def at_zero(name: str = NAME, **spec: Any) -> Object:
    """Nothing runs, and nobody asks: the cheapest there is. Nothing that it names needs to be there."""
    base: Object = {
        "model": {"uri": "s3://models/llama"},
        "engine": {"name": "llamacpp"},
        "scaling": {"minReplicas": 0},
    }
    return llmdeployment(name, merged(base, spec))


def on_own_engine(name: str = NAME, *, replicas: int = 1, uri: str = "pvc://weights/", **spec: Any) -> Object:
    """As many replicas of whatever the runtime of the namespace runs; with the claim `weights`."""
    base: Object = {
        "model": {"uri": uri},
        "engine": {"name": OWN_ENGINE},
        "scaling": {"minReplicas": replicas, "maxReplicas": max(replicas, 1)},
        "rollout": {"drainTimeout": "1s"},
    }
    return llmdeployment(name, merged(base, spec))


def own_runtime(pod: Mapping[str, Any] | None = None, *, name: str = OWN_ENGINE, **container: Any) -> Object:
    """By default, its container is ready at once and does nothing."""
    engine = {
        "name": "kserve-container",
        "image": PAUSE,
        "imagePullPolicy": "IfNotPresent",
        "readinessProbe": READY_AT_ONCE,
        **container,
    }
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": {"name": name},
        "spec": {"supportedModelFormats": [{"name": "gguf"}], "containers": [engine], **(pod or {})},
    }


# --- what is seen of them --------------------------------------------------------------------------------------------


def told(thing: Object) -> Object:
    """Its status, if it is about the spec as it is now."""
    status: Object = thing.get("status") or {}
    return status if status.get("observedGeneration") == thing["metadata"]["generation"] else {}


def conditions(thing: Object) -> dict[str, tuple[str, str]]:
    """Status and reason of each."""
    return {each["type"]: (each["status"], each["reason"]) for each in told(thing).get("conditions") or []}


def message(thing: Object, condition: str) -> str:
    return next((str(each["message"]) for each in told(thing).get("conditions") or [] if each["type"] == condition), "")


def is_in(state: str) -> Predicate:
    """In this state, and settled."""
    return lambda thing: told(thing).get("state") == state and conditions(thing)["Reconciling"][0] == "False"


def is_stalled(reason: str, words: str = "") -> Predicate:
    return lambda thing: conditions(thing).get("Stalled") == ("True", reason) and words in message(thing, "Stalled")


async def created(kube: Kube, thing: Object) -> Object:
    """As the API server has it then."""
    await kube.apply(thing)
    return await kube.get("llmdeployment", thing["metadata"]["name"])


async def until_alone(kube: Kube) -> None:
    """Those of earlier tests go with their namespaces, for which nobody waited, and what is written then counts."""
    async with asyncio.timeout(60):
        while {*await _homes(kube)} - {kube.namespace}:  # noqa: ASYNC110 - what ends is told to nobody
            await asyncio.sleep(0.2)


async def _homes(kube: Kube) -> list[str]:
    """The namespaces that have LLMDeployments."""
    columns = "--output=custom-columns=:.metadata.namespace"
    return (await kube.run("get", "llmdeployments", "--all-namespaces", "--no-headers", columns)).split()


async def settled(kube: Kube, thing: Object, state: str = "Idle", *, timeout: float = 60) -> Object:
    """Created, and in this state."""
    await kube.apply(thing)
    return await until_settled(kube, thing["metadata"]["name"], state, timeout=timeout)


async def until_settled(kube: Kube, name: str = NAME, state: str = "Idle", *, timeout: float = 60) -> Object:
    return await kube.wait_for("llmdeployment", name, is_in(state), timeout=timeout)


async def children(kube: Kube, name: str = NAME, kinds: tuple[str, ...] = CHILDREN) -> dict[str, Object]:
    found = {kind: await kube.find(kind, name) for kind in kinds}
    return {kind: thing for kind, thing in found.items() if thing}


async def events(kube: Kube, name: str = NAME) -> list[tuple[str, str]]:
    """What the operator told of it, oldest first: type and reason."""
    found = await kube.select("events.v1.events.k8s.io")
    ours = [
        each for each in found if each["regarding"]["kind"] == "LLMDeployment" and each["regarding"]["name"] == name
    ]
    return [(each["type"], each["reason"]) for each in sorted(ours, key=lambda each: each["eventTime"])]


async def versions(kube: Kube, name: str = NAME) -> dict[str, str]:
    """The resourceVersion of everything that the operator writes, and of the Deployment."""
    things = {kind: await kube.get(kind, name) for kind in ("llmdeployment", *CHILDREN)}
    things["deployment"] = await kube.get("deployment", f"{name}-predictor")
    return {kind: thing["metadata"]["resourceVersion"] for kind, thing in things.items()}
