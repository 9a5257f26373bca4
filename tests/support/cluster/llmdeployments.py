"""LLMDeployments on a cluster: created, waited for, and their status, children and events read."""

from __future__ import annotations

import asyncio

from support.builders.llmdeployments import CHILDREN, CLASS, NAME
from support.builders.objects import Object
from support.cluster.kube import Kube, Predicate

# --- reading ---------------------------------------------------------------------------------------------------------


def current_status(thing: Object) -> Object:
    """Returns the status if it is about the present spec, else an empty one."""
    status: Object = thing.get("status") or {}
    return status if status.get("observedGeneration") == thing["metadata"]["generation"] else {}


def conditions(thing: Object) -> dict[str, tuple[str, str]]:
    """Returns the status and reason of each condition."""
    return {each["type"]: (each["status"], each["reason"]) for each in current_status(thing).get("conditions") or []}


def message(thing: Object, condition: str) -> str:
    return next(
        (str(each["message"]) for each in current_status(thing).get("conditions") or [] if each["type"] == condition),
        "",
    )


def is_in(state: str) -> Predicate:
    """A predicate for `wait_for`: in this state, and nothing left to reconcile."""
    return lambda thing: current_status(thing).get("state") == state and conditions(thing)["Reconciling"][0] == "False"


def is_stalled(reason: str, words: str = "") -> Predicate:
    return lambda thing: conditions(thing).get("Stalled") == ("True", reason) and words in message(thing, "Stalled")


def is_for_others_to_scale(deployment: Object) -> bool:
    """Wait for this before scaling a new Deployment: until KServe has seen the change from `none` to `external`, which
    it copies to the pod template, it sets the replicas back to zero."""
    annotations = deployment["spec"]["template"]["metadata"].get("annotations", {})
    is_observed = (deployment.get("status") or {}).get("observedGeneration") == deployment["metadata"]["generation"]
    return bool(annotations.get(CLASS) == "external" and is_observed)


async def created(kube: Kube, thing: Object) -> Object:
    """Creates the object; returns it as the API server stores it."""
    await kube.apply(thing)
    return await kube.get("llmdeployment", thing["metadata"]["name"])


async def until_alone(kube: Kube) -> None:
    """Waits until no other test's LLMDeployments exist: they are deleted with their namespaces, and count in
    metrics."""
    async with asyncio.timeout(60):
        while {*await _homes(kube)} - {kube.namespace}:  # noqa: ASYNC110 - there is no event for the end of a namespace
            await asyncio.sleep(0.2)


async def _homes(kube: Kube) -> list[str]:
    """Returns the namespaces that have LLMDeployments."""
    columns = "--output=custom-columns=:.metadata.namespace"
    return (await kube.run("get", "llmdeployments", "--all-namespaces", "--no-headers", columns)).split()


async def settled(kube: Kube, thing: Object, state: str = "Idle", *, timeout: float = 60) -> Object:
    """Creates the object, and waits until it is in this state."""
    await kube.apply(thing)
    return await until_settled(kube, thing["metadata"]["name"], state, timeout=timeout)


async def until_settled(kube: Kube, name: str = NAME, state: str = "Idle", *, timeout: float = 60) -> Object:
    return await kube.wait_for("llmdeployment", name, is_in(state), timeout=timeout)


async def children(kube: Kube, name: str = NAME, kinds: tuple[str, ...] = CHILDREN) -> dict[str, Object]:
    found = {kind: await kube.find(kind, name) for kind in kinds}
    return {kind: thing for kind, thing in found.items() if thing}


async def events_with(kube: Kube, reason: str, name: str = NAME) -> list[tuple[str, str]]:
    """Returns the operator's events about it, oldest first, as type and reason, once one has this reason: the operator
    writes it after the status."""

    def is_ours(event: Object) -> bool:
        return bool(event["regarding"]["kind"] == "LLMDeployment" and event["regarding"]["name"] == name)

    kind = "events.v1.events.k8s.io"
    await kube.wait_for_any(kind, "", lambda event: is_ours(event) and event["reason"] == reason)
    found = sorted(filter(is_ours, await kube.select(kind)), key=lambda event: event["eventTime"])
    return [(each["type"], each["reason"]) for each in found]


async def versions(kube: Kube, name: str = NAME) -> dict[str, str]:
    """Returns the resourceVersion of every object that the operator writes, and of the Deployment."""
    things = {kind: await kube.get(kind, name) for kind in ("llmdeployment", *CHILDREN)}
    things["deployment"] = await kube.get("deployment", f"{name}-predictor")
    return {kind: thing["metadata"]["resourceVersion"] for kind, thing in things.items()}
