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
from slipway_devcluster.images import BASE_IMAGE

from support.builders.llmdeployments import NAME, OURS, at_zero, on_own_engine, own_runtime
from support.builders.objects import PAUSE, Object, manifest, pod, python
from support.cluster.kube import Kube, Predicate
from support.cluster.releases import with_values
from support.faults import components
from support.faults.runbook_faults import tiny

KSERVE, KEDA, ACTIVATOR = (
    ("kserve", "kserve-controller-manager"),
    ("keda", "keda-operator"),
    (SLIPWAY_NAMESPACE, "slipway-activator"),
)
SMALL_LIMITS = {"type": "Container", "max": {"memory": "256Mi"}}
DEVICE: Object = {"resources": {"limits": {"nvidia.com/gpu": "1"}}}
LARGE = {"resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}}


@dataclass(frozen=True)
class Scene:
    """Where a fault happens: the namespace of the model, and the cluster."""

    kube: Kube
    cluster: Cluster

    def of(self, namespace: str) -> Kube:
        return self.kube.within(namespace)


Provoked = Callable[[Scene], AbstractAsyncContextManager[object]]


@dataclass(frozen=True)
class PlatformFault:
    """`provoked` holds the fault while its block lasts; `parts`: the headings of the page that are walked, in order,
    each as far as the page's third level; `healthy`: the state of the model afterwards."""

    page: str
    words: str
    provoked: Provoked
    parts: Sequence[tuple[str, ...]] = (("Diagnosis",), ("Mitigation",))
    objects: Callable[[], list[Object]] = lambda: [at_zero()]
    reason: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    healthy: str = "Idle"
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
    namespace, name = program

    @asynccontextmanager
    async def block(scene: Scene) -> AsyncGenerator[None]:
        kube = scene.of(namespace)
        before = (await kube.get("deployment", name))["spec"]
        [container] = before["template"]["spec"]["containers"]
        broken = {"template": {"spec": {"containers": [{**container, "args": ["--no-such-flag"]}]}}}
        strategy = {"type": "Recreate", "rollingUpdate": None}
        await kube.patch("deployment", name, {"spec": {"strategy": strategy, **broken}})
        try:
            yield
        finally:
            spec = {"template": before["template"], "strategy": before["strategy"]}
            await kube.patch("deployment", name, {"spec": spec})
            await kube.run("rollout", "status", f"deployment/{name}", "--timeout=120s")

    return block


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


def with_chart_values(*sets: str, replaced: Sequence[str] = ()) -> Provoked:
    return lambda scene: with_values(scene.cluster, scene.of(SLIPWAY_NAMESPACE), *sets, replaced=replaced)


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


@asynccontextmanager
async def without_right_to_create_services(scene: Scene) -> AsyncGenerator[None]:
    """The operator's ClusterRole lacks a verb, as after a change by hand."""
    role = await scene.kube.get("clusterrole", "slipway-operator")
    lacking = [
        {**rule, "verbs": [verb for verb in rule["verbs"] if verb not in ("create", "patch")]}
        if "inferenceservices" in rule.get("resources", [])
        else rule
        for rule in role["rules"]
    ]
    await scene.kube.patch("clusterrole", "slipway-operator", {"rules": lacking})
    try:
        yield
    finally:
        await scene.kube.patch("clusterrole", "slipway-operator", {"rules": role["rules"]})


def webhook_of_nobody(namespace: str) -> Object:
    """A webhook for Services whose own Service doesn't exist."""
    service = {"namespace": namespace, "name": "label-checker"}
    return manifest(
        "admissionregistration.k8s.io/v1",
        "ValidatingWebhookConfiguration",
        "label-checker",
        webhooks=[
            {
                "name": "labels.example.com",
                "clientConfig": {"service": service},
                "rules": [
                    {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["services"]}
                ],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "timeoutSeconds": 2,
            }
        ],
    )


def with_webhook_of_nobody(scene: Scene) -> AbstractAsyncContextManager[object]:
    return with_objects(webhook_of_nobody(scene.kube.namespace))(scene)


@asynccontextmanager
async def deleted_while_kserve_is_down(scene: Scene) -> AsyncGenerator[None]:
    """The deletion waits for KServe's finalizer."""
    async with components.scaled_to_zero(scene.of(KSERVE[0]), KSERVE[1]):
        await scene.kube.run("delete", "llmdeployment", NAME, "--cascade=foreground", "--wait=false")
        yield


@asynccontextmanager
async def pod_with_a_finalizer(scene: Scene) -> AsyncGenerator[None]:
    """A pod that was deleted, and that another program's finalizer keeps."""
    pod = (await scene.kube.wait_for_any("pods", OURS, lambda _: True))["metadata"]["name"]
    await scene.kube.patch("pod", pod, {"metadata": {"finalizers": ["example.com/keep"]}})
    await scene.kube.delete("pod", pod)
    try:
        yield
    finally:
        if await scene.kube.find("pod", pod):
            await scene.kube.patch("pod", pod, {"metadata": {"finalizers": None}})


@asynccontextmanager
async def cordoned(kube: Kube, node: str) -> AsyncGenerator[None]:
    """New pods go elsewhere during the block."""
    await kube.run("cordon", node)
    try:
        yield
    finally:
        await kube.run("uncordon", node)


@asynccontextmanager
async def preempted(scene: Scene) -> AsyncGenerator[None]:
    """A pod of a higher priority takes the only device; there is a class of a still higher one."""
    classes = [_priority("batch-urgent", 1000), _priority("interactive", 2000)]
    boss = pod("boss", PAUSE, [], container=DEVICE, priorityClassName="batch-urgent")
    async with with_objects(*classes, boss)(scene):
        yield


def _priority(name: str, value: int) -> Object:
    return manifest("scheduling.k8s.io/v1", "PriorityClass", name, value=value)


def serving() -> list[Object]:
    """A model whose pods are ready immediately and do nothing."""
    return [own_runtime(), on_own_engine()]


def on_the_only_device() -> list[Object]:
    """A model that needs some seconds to stop, so that the preemption is seen."""
    slow = {"lifecycle": {"preStop": {"sleep": {"seconds": 20}}}}
    runtime = own_runtime(**DEVICE, **slow)
    return [runtime, on_own_engine(rollout={"strategy": "Recreate", "drainTimeout": "20s"})]


def writing_to(image: str, size: str) -> list[Object]:
    """An engine that writes 8 MiB into a volume of this size."""
    scratch = {"volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": size}}]}
    mounts = {"volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}]}
    writes = python("open('/scratch/blocks', 'wb').write(bytes(8 << 20)); import time; time.sleep(3600)")
    return [own_runtime(image=image, command=writes), on_own_engine(pod={**scratch, **mounts})]


def with_budget(then: str, per_day: float) -> list[Object]:
    """The tests' price of a CPU spends it within minutes."""
    scaling = {"minReplicas": 0, "initialReplicas": 1, "idleAfter": "1h"}
    return [tiny(scaling=scaling, budget={"perDay": per_day, "then": then})]


def scaled_by_hpa() -> list[Object]:
    return [own_runtime(), on_own_engine(scaling={"autoscaler": "HPA", "maxReplicas": 2})]


# --- the table -------------------------------------------------------------------------------------------------------

AT_ZERO, ENDS = "It is scaled to zero", "Its pods don't run"


def down(page: str, program: tuple[str, str]) -> tuple[PlatformFault, ...]:
    name = f"`{program[0]}/{program[1]}`"
    return (
        PlatformFault(
            page,
            f"{name} is scaled to 0 replicas.",
            scaled_to_zero(program),
            (("Diagnosis",), ("Mitigation", AT_ZERO)),
        ),
        PlatformFault(
            page,
            f"An unknown flag in the Deployment of {name}.",
            that_ends(program),
            (("Diagnosis",), ("Diagnosis", ENDS), ("Mitigation", ENDS)),
        ),
    )


PLATFORM_FAULTS = (
    *down("KServeDown", KSERVE),
    *down("KedaDown", KEDA),
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
        (("Diagnosis",),),
    ),
    PlatformFault(
        "ScalerUnavailable",
        "`platform.kedaNamespace` of the chart names another namespace than KEDA's.",
        with_chart_values("platform.kedaNamespace=elsewhere", replaced=("slipway-activator",)),
    ),
    PlatformFault(
        "PortsExhausted",
        "`operator.portsPerNamespace` is 1, and the namespace has two models.",
        with_chart_values("operator.portsPerNamespace=1", replaced=("slipway-operator",)),
        objects=lambda: [at_zero("first"), at_zero()],
        before=False,
    ),
    PlatformFault(
        "PermissionDenied",
        "The operator's ClusterRole lacks the verb `create` for InferenceServices.",
        without_right_to_create_services,
        before=False,
    ),
    PlatformFault(
        "AdmissionDenied",
        "A LimitRange with less memory than the model's limit.",
        with_objects(manifest("v1", "LimitRange", "small", spec={"limits": [SMALL_LIMITS]})),
        objects=lambda: [own_runtime(), on_own_engine(pod=LARGE)],
        healthy="Serving",
        before=False,
        alone=False,
    ),
    PlatformFault(
        "QuotaExceeded",
        "A ResourceQuota of no pods.",
        with_objects(manifest("v1", "ResourceQuota", "team", spec={"hard": {"pods": "0"}})),
        objects=serving,
        values={"QUOTA": "team"},
        healthy="Serving",
        before=False,
        alone=False,
    ),
    PlatformFault(
        "ApiError",
        "A webhook for Services whose own Service doesn't exist.",
        with_webhook_of_nobody,
        before=False,
        alone=False,
    ),
    PlatformFault(
        "PodStuck",
        "A finalizer of another program on a pod that is deleted.",
        pod_with_a_finalizer,
        objects=serving,
        healthy="Serving",
        alone=False,
    ),
    PlatformFault(
        "Preempted",
        "A pod of a higher priority takes the device of the model.",
        preempted,
        objects=on_the_only_device,
        healthy="Serving",
        alone=False,
    ),
    PlatformFault(
        "Evicted",
        "An engine that writes 8 MiB into a volume of 1 MiB.",
        with_objects(),
        objects=lambda: writing_to(BASE_IMAGE, "1Mi"),
        healthy="Serving",
        before=False,
        alone=False,
    ),
    PlatformFault(
        "BudgetSpent",
        "`budget.perDay` of 5, and a CPU that costs 3,600 per hour.",
        with_objects(),
        objects=lambda: with_budget("Refuse", 5),
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
        "Deleting",
        "A model is deleted while KServe, whose finalizer its InferenceService has, is scaled to 0 replicas.",
        deleted_while_kserve_is_down,
        healthy="gone",
        seen=lambda it: "deletionTimestamp" in it["metadata"],
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
