"""Faults of the platform that have a runbook: how to provoke each, and which part of the page remedies it.

A fault ends with its block, whether the runbook has remedied it or not: the next test needs a platform that works.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

from slipway_devcluster.cluster import Cluster
from slipway_devcluster.components import SLIPWAY_NAMESPACE

from support.builders.llmdeployments import at_zero, on_own_engine, own_runtime
from support.builders.objects import Object, manifest
from support.cluster.kube import Kube, Predicate
from support.faults import components
from support.faults.runbook_faults import tiny

KSERVE, KEDA, ACTIVATOR = (
    ("kserve", "kserve-controller-manager"),
    ("keda", "keda-operator"),
    (SLIPWAY_NAMESPACE, "slipway-activator"),
)


@dataclass(frozen=True)
class Scene:
    """Where a fault happens: the namespace of the model, the cluster, and an image with Python that it has."""

    kube: Kube
    cluster: Cluster
    image: str

    def of(self, namespace: str) -> Kube:
        return self.kube.within(namespace)


Provoked = Callable[[Scene], AbstractAsyncContextManager[object]]


@dataclass(frozen=True)
class PlatformFault:
    """`provoked` holds the fault while its block lasts, and may yield values of placeholders; `parts`: the headings of
    the page that are walked, in order, each as far as the page's third level; `healthy`: the state of the model
    afterwards."""

    page: str
    words: str
    provoked: Provoked
    parts: Sequence[tuple[str, ...]] = (("Diagnosis",), ("Mitigation",))
    objects: Callable[[], list[Object]] = lambda: [at_zero()]
    reason: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    healthy: str = "Idle"
    at_first: str = ""
    """The state before the fault, where that is another one."""
    before: bool = True
    """Whether the model is there and healthy before the fault; else it is created during it."""
    seen: Predicate | None = None
    """What the LLMDeployment shows, where that isn't the reason."""
    alone: bool = True
    """Whether it breaks what other models depend on."""

    @property
    def named(self) -> str:
        return self.reason or self.page

    @property
    def provoked_as(self) -> str:
        return self.parts[-1][-1].replace(" ", "-")


# --- programs --------------------------------------------------------------------------------------------------------


def scaled_to_zero(program: tuple[str, str]) -> Provoked:
    namespace, name = program
    return lambda scene: components.scaled_to_zero(scene.of(namespace), name)


def that_ends(program: tuple[str, str]) -> Provoked:
    """Another version of the program, which ends with an error; no pod of the former version keeps running."""
    return changed(*program, lambda container: {**container, "args": ["--no-such-flag"]})


def changed(namespace: str, name: str, change: Callable[[Object], Object]) -> Provoked:
    """A program whose container is changed, without a pod of the former version."""

    @asynccontextmanager
    async def block(scene: Scene) -> AsyncGenerator[None]:
        kube = scene.of(namespace)
        before = (await kube.get("deployment", name))["spec"]
        [container] = before["template"]["spec"]["containers"]
        broken = {"template": {"spec": {"containers": [change(container)]}}}
        strategy = {"type": "Recreate", "rollingUpdate": None}
        await kube.patch("deployment", name, {"spec": {"strategy": strategy, **broken}})
        try:
            yield
        finally:
            spec = {"template": before["template"], "strategy": before["strategy"]}
            await kube.patch("deployment", name, {"spec": spec})
            await kube.run("rollout", "status", f"deployment/{name}", "--timeout=120s")

    return block


def with_too_little_memory(program: tuple[str, str], memory: str) -> Provoked:
    """Its container is killed each time it starts; no pod of the former version keeps running."""
    namespace, name = program

    def change(container: Object) -> Object:
        return {**container, "resources": {"requests": {"memory": memory}, "limits": {"memory": memory}}}

    return changed(namespace, name, change)


def without_definition(name: str) -> Provoked:
    """The CRD is deleted, with all of its objects."""

    @asynccontextmanager
    async def block(scene: Scene) -> AsyncGenerator[None]:
        found = await scene.kube.get("customresourcedefinition", name)
        kept = {key: found["metadata"][key] for key in ("name", "annotations", "labels") if key in found["metadata"]}
        await scene.kube.delete("customresourcedefinition", name, wait=True)
        try:
            yield
        finally:
            again = {"apiVersion": found["apiVersion"], "kind": found["kind"], "metadata": kept, "spec": found["spec"]}
            await scene.kube.run("create", "--filename=-", stdin=json.dumps(again))
            await scene.kube.wait_for_condition("customresourcedefinition", name, "Established")

    return block


# --- objects ---------------------------------------------------------------------------------------------------------


def with_objects(*objects: Object) -> Provoked:
    """These objects exist while the block lasts."""

    @asynccontextmanager
    async def block(scene: Scene) -> AsyncGenerator[None]:
        await scene.kube.apply(*objects)
        try:
            yield
        finally:
            for each in objects:
                await scene.kube.delete(each["kind"].lower(), each["metadata"]["name"])

    return block


def serving() -> list[Object]:
    """A model whose pods are ready immediately and do nothing."""
    return [own_runtime(), on_own_engine()]


def sleeping() -> list[Object]:
    """A model at zero that can serve."""
    return [tiny(scaling={"minReplicas": 0})]


def with_budget(then: str, per_day: float) -> list[Object]:
    """The tests' price of a CPU spends it within minutes."""
    scaling = {"minReplicas": 0, "initialReplicas": 1, "idleAfter": "1h"}
    return [tiny(scaling=scaling, budget={"perDay": per_day, "then": then})]


def scaled_by_hpa() -> list[Object]:
    return [own_runtime(), on_own_engine(scaling={"autoscaler": "HPA", "maxReplicas": 2})]


# --- the table -------------------------------------------------------------------------------------------------------

AT_ZERO, ENDS = "It is scaled to zero", "Its pods don't run"


def down(page: str, program: tuple[str, str], **values: str) -> tuple[PlatformFault, ...]:
    name = f"`{program[0]}/{program[1]}`"
    return (
        PlatformFault(
            page,
            f"{name} is scaled to 0 replicas.",
            scaled_to_zero(program),
            (("Diagnosis",), ("Mitigation", AT_ZERO)),
            values=values,
        ),
        PlatformFault(
            page,
            f"An unknown flag in the Deployment of {name}.",
            that_ends(program),
            (("Diagnosis",), ("Diagnosis", ENDS), ("Mitigation", ENDS)),
            values=values,
        ),
    )


PLATFORM_FAULTS = (
    *down("KServeDown", KSERVE),
    PlatformFault(
        "KServeDown",
        "A memory limit of 16Mi in the Deployment of `kserve/kserve-controller-manager`.",
        with_too_little_memory(KSERVE, "16Mi"),
        (("Diagnosis",), ("Mitigation", "It is out of memory")),
        values={"MEMORY": "512Mi"},
    ),
    *down("KedaDown", KEDA, KEDA_NAMESPACE=KEDA[0]),
    PlatformFault(
        "KedaDown",
        "`keda/keda-operator` is scaled to 0 replicas, and someone needs a model that sleeps.",
        scaled_to_zero(KEDA),
        (("Diagnosis",), ("Mitigation", "Until then")),
        objects=sleeping,
        at_first="Idle",
        values={"KEDA_NAMESPACE": KEDA[0]},
        healthy="Serving",
    ),
    *down("ActivatorUnavailable", ACTIVATOR),
    PlatformFault(
        "KServeMissing",
        "The CRD of InferenceServices is deleted; the test creates it again.",
        without_definition("inferenceservices.serving.kserve.io"),
        (("Diagnosis",),),
    ),
    PlatformFault(
        "KedaMissing",
        "The CRD of ScaledObjects is deleted; the test creates it again.",
        without_definition("scaledobjects.keda.sh"),
        (("Diagnosis",), ("Mitigation", "Without KEDA")),
        objects=sleeping,
        at_first="Idle",
        healthy="Serving",
    ),
    PlatformFault(
        "QuotaExceeded",
        "A ResourceQuota of no pods.",
        with_objects(manifest("v1", "ResourceQuota", "team", spec={"hard": {"pods": "0"}})),
        objects=serving,
        values={"QUOTA": "team", "PODS": "10"},
        healthy="Serving",
        before=False,
        alone=False,
    ),
    PlatformFault(
        "BudgetNearlySpent",
        "`budget.perDay` of 200, and a CPU that costs 3,600 per hour.",
        with_objects(),
        objects=lambda: with_budget("Alert", 200),
        before=False,
        alone=False,
    ),
    PlatformFault(
        "MetricsMissing",
        "`autoscaler: HPA` on a cluster without a metrics API.",
        with_objects(),
        objects=scaled_by_hpa,
        healthy="Serving",
        before=False,
        alone=False,
    ),
)
