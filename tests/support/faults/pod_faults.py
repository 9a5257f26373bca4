"""Faults that stop a model's pods from outside: rules of the cluster, its nodes, and other programs.

Each concerns one namespace, so that all of them are walked at the same time.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from slipway_devcluster.addresses import NODE_NAME

from support.builders.llmdeployments import NAME, OURS, on_own_engine, own_runtime
from support.builders.objects import PAUSE, Object, manifest, pod
from support.cluster.kube import Kube, KubectlError, is_ready
from support.faults.platform_faults import PlatformFault, Scene, serving, with_objects
from support.faults.runbook_faults import engine, tiny

SCRATCH = "scratch"
SLOT = "example.com/slot"
KEEPS = "example.com/keep"
SCHEDULING, ADMISSION = "scheduling.k8s.io/v1", "admissionregistration.k8s.io/v1"
FILLS_ITS_VOLUME = f"open('/{SCRATCH}/weights', 'wb').write(bytes(8 << 20)); import time; time.sleep(30)\n"


def memory_at_most(limit: str) -> Object:
    return manifest("v1", "LimitRange", "team", spec={"limits": [{"type": "Container", "max": {"memory": limit}}]})


# --- eviction --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def fills_its_volume(scene: Scene) -> AsyncGenerator[dict[str, str]]:
    """An engine that writes 8 MiB into a volume of 1 MiB while it starts: the kubelet evicts it before it serves."""
    [interpreter, flag, program] = engine()["command"]
    container = {**engine(), "command": [interpreter, flag, FILLS_ITS_VOLUME + program], "image": scene.image}
    volume = {"name": SCRATCH, "emptyDir": {"sizeLimit": "1Mi"}}
    mount = {"name": SCRATCH, "mountPath": f"/{SCRATCH}"}
    await scene.kube.apply(own_runtime(**container), on_own_engine(pod={"volumes": [volume], "volumeMounts": [mount]}))
    found = await scene.kube.wait_for_any("pods", OURS, lambda it: bool(it["spec"].get("nodeName")))
    yield {"NODE": found["spec"]["nodeName"]}


# --- termination -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def with_a_finalizer(scene: Scene) -> AsyncGenerator[dict[str, str]]:
    """A pod of the model is deleted, and a finalizer keeps it."""
    name = (await scene.kube.wait_for_any("pods", OURS, is_ready))["metadata"]["name"]
    try:
        await scene.kube.patch("pod", name, {"metadata": {"finalizers": [KEEPS]}})
        await scene.kube.run("delete", "pod", name, "--wait=false")
        yield {"POD": name}
    finally:
        await without_finalizers(name, scene.kube)


async def without_finalizers(pod_name: str, kube: Kube) -> None:
    """The pod may be gone: the runbook has removed its finalizer."""
    try:
        await kube.patch("pod", pod_name, {"metadata": {"finalizers": None}})
    except KubectlError as error:
        if "(NotFound)" not in str(error):
            raise


# --- priorities ------------------------------------------------------------------------------------------------------


def priority(name: str, value: int) -> Object:
    return manifest(SCHEDULING, "PriorityClass", name, value=value)


def waits_when_it_ends() -> list[Object]:
    """A model that needs the only slot of a node, and whose pods take 20 s to end."""
    slot = {"requests": {SLOT: "1"}, "limits": {SLOT: "1"}}
    runtime = own_runtime(resources=slot, lifecycle={"preStop": {"sleep": {"seconds": 20}}})
    return [runtime, on_own_engine(rollout={"drainTimeout": "25s", "strategy": "Recreate"})]


@asynccontextmanager
async def by_a_pod_of_higher_priority(scene: Scene) -> AsyncGenerator[dict[str, str]]:
    """The only slot is given to another pod. A class that is higher still exists, too."""
    kube = scene.kube
    batch, interactive = f"batch-{kube.namespace}", f"interactive-{kube.namespace}"
    try:
        await set_slots("1", kube)
        await kube.apply(priority(batch, 1000), priority(interactive, 2000), *waits_when_it_ends())
        await kube.wait_for_any("pods", OURS, is_ready)
        container = {"resources": {"limits": {SLOT: "1"}}}
        await kube.apply(pod("boss", PAUSE, [], container=container, priorityClassName=batch))
        yield {"PRIORITY_CLASS": interactive}
    finally:
        for each in (batch, interactive):
            await kube.delete("priorityclass", each)
        await set_slots(None, kube)


async def set_slots(number: str | None, kube: Kube) -> None:
    """None: the node has no such resource."""
    slots = {SLOT: number}
    await kube.patch("node", NODE_NAME, {"status": {"capacity": slots, "allocatable": slots}}, subresource="status")


# --- admission -------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def left_over_webhook(scene: Scene) -> AsyncGenerator[dict[str, str]]:
    """A webhook for the namespace's Services whose program is gone."""
    name = f"label-checker-{scene.kube.namespace}"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["services"], "operations": ["CREATE", "UPDATE"]}
    webhook = {
        "name": f"check.{name}.example",
        "clientConfig": {"service": {"namespace": scene.kube.namespace, "name": "label-checker"}},
        "rules": [rule],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": scene.kube.namespace}},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    await scene.kube.apply(manifest(ADMISSION, "ValidatingWebhookConfiguration", name, webhooks=[webhook]))
    try:
        yield {"WEBHOOK": name}
    finally:
        await scene.kube.run("delete", "validatingwebhookconfiguration", name, "--ignore-not-found")


# --- KEDA ------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def paused_by_a_person(scene: Scene) -> AsyncGenerator[None]:
    """The runbook removes the annotation."""
    await scene.kube.wait_for_condition("scaledobject", NAME, "Ready")
    await scene.kube.run("annotate", "scaledobject", NAME, "autoscaling.keda.sh/paused-replicas=0")
    yield


# --- the table -------------------------------------------------------------------------------------------------------

POD_FAULTS = (
    PlatformFault(
        "AdmissionDenied",
        "A LimitRange of 512Mi, and a model whose memory limit is 1Gi.",
        with_objects(memory_at_most("512Mi")),
        objects=lambda: [tiny()],
        values={"MEMORY": "512Mi"},
        healthy="Serving",
        before=False,
        alone=False,
    ),
    PlatformFault(
        "Evicted",
        "An engine that writes 8 MiB into a volume of 1 MiB.",
        fills_its_volume,
        objects=list,
        values={"SIZE": "64Mi"},
        healthy="Serving",
        before=False,
        alone=False,
    ),
    PlatformFault(
        "PodStuck",
        "A pod with a finalizer that no program removes is deleted.",
        with_a_finalizer,
        objects=serving,
        healthy="Serving",
        alone=False,
    ),
    PlatformFault(
        "Preempted",
        "A pod of higher priority takes the only device of its kind.",
        by_a_pod_of_higher_priority,
        objects=list,
        healthy="Serving",
        before=False,
        alone=False,
    ),
    PlatformFault(
        "ApiError",
        "A ValidatingWebhookConfiguration for Services whose program is gone.",
        left_over_webhook,
        before=False,
        alone=False,
    ),
    PlatformFault(
        "ScalingPaused",
        "A person pauses KEDA by an annotation of the ScaledObject of a model at zero.",
        paused_by_a_person,
        alone=False,
    ),
)
