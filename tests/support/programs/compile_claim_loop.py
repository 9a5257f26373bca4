"""The operator's loop with a model whose compiled code is kept on a claim: its objects, and what may happen to them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from slipway.objects.kinds import (
    CLUSTER_SERVING_RUNTIME,
    EVENT,
    INFERENCE_SERVICE,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    STORAGE_CLASS,
    Object,
)
from slipway.operator.rendering.compiled_store import store_in

from support.builders.stored import LABELS, kube_object, llm, made_by_kserve
from support.fakes.api_server import KEY
from support.programs.operator_loop import Loop, status

NAME, POD_NAME = "llama-compiled", "llama-predictor-1"
RUNTIME = {
    "supportedModelFormats": [{"name": "huggingface"}],
    "containers": [{"name": "kserve-container", "securityContext": {"runAsUser": 1000, "runAsGroup": 1000}}],
}
DEFAULT = {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}
UNPLACED = "0/2 nodes are available: 2 node(s) had volume node affinity conflict."
OCCUPIED = (
    "0/1 nodes are available: 1 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod "
    "access mode."
)
CROWDED = "0/2 nodes are available: 2 Insufficient nvidia.com/gpu."


def vllm(**engine: Any) -> Object:
    return llm(
        engine={"name": "vllm", "contextLength": 2048, "maxConcurrency": 4, **engine},
        accelerator={"profiles": ["cpu"]},
        model={"uri": "pvc://models/llama", "facts": {"parameters": 1_000_000_000, "layers": 10, "kvHeads": 4}},
    )


def cpu() -> Object:
    spec = {"vendor": "CPU", "resource": {"name": "cpu", "count": 1}, "memory": "64Gi"}
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "AcceleratorProfile",
        "metadata": {"name": "cpu"},
        "spec": spec,
    }


def put_what_it_needs(loop: Loop) -> None:
    """The model, and a cluster with a default StorageClass."""
    loop.api.put(cpu())
    loop.api.put(kube_object(CLUSTER_SERVING_RUNTIME, "slipway-vllm-cpu", spec=RUNTIME))
    loop.api.put(kube_object(STORAGE_CLASS, "standard", metadata=DEFAULT, provisioner="ebs.csi.aws.com"))
    loop.api.put(vllm())


def cache(loop: Loop) -> Object:
    found: Object = status(loop)["compileCache"]
    return found


def mounts(loop: Loop) -> bool:
    return store_in(loop.api.get(INFERENCE_SERVICE)) is not None


def claim(loop: Loop) -> Object | None:
    return loop.api.objects.get((PERSISTENT_VOLUME_CLAIM, KEY.namespace, NAME))


def bind(loop: Loop) -> None:
    if claim(loop):
        bound = {"status": {"phase": "Bound"}, "spec": {"volumeName": "pv-1"}}
        loop.api.change(PERSISTENT_VOLUME_CLAIM, bound, name=NAME)


def scale(loop: Loop, replicas: int) -> None:
    loop.api.put(made_by_kserve(replicas, owner=loop.api.get(INFERENCE_SERVICE)))


def pod(loop: Loop, *, message: str = "", age: float = 0, node: str = "", is_ready: bool = False) -> None:
    at = f"{loop.time - timedelta(seconds=age):%Y-%m-%dT%H:%M:%SZ}"
    scheduled = {"type": "PodScheduled", "status": "True" if node else "False", "lastTransitionTime": at}
    ready = {"type": "Ready", "status": str(is_ready), "lastTransitionTime": at}
    conditions = [ready, *([scheduled | {"reason": "Unschedulable", "message": message}] if message or node else [])]
    loop.api.put(
        kube_object(
            POD,
            POD_NAME,
            metadata={"labels": LABELS, "creationTimestamp": at},
            spec={"containers": [{"name": "kserve-container"}], **({"nodeName": node} if node else {})},
            status={"conditions": conditions},
        )
    )


def end_pod(loop: Loop) -> None:
    loop.delete(POD, name=POD_NAME)


def happened(loop: Loop, reason: str, message: str, *, ago: float = 0) -> None:
    """An event about the pod."""
    about = {"kind": "Pod", "name": POD_NAME, "uid": loop.api.get(POD, name=POD_NAME)["metadata"]["uid"]}
    at = f"{loop.time - timedelta(seconds=ago):%Y-%m-%dT%H:%M:%SZ}"
    event = kube_object(EVENT, reason.lower(), reason=reason, message=message, involvedObject=about, lastTimestamp=at)
    loop.api.put({**event, "apiVersion": "v1", "kind": "Event", "metadata": {**event["metadata"], "labels": LABELS}})


async def asleep(loop: Loop) -> None:
    await loop.settle()
    scale(loop, 0)
    await loop.settle()


async def waking(loop: Loop, **facts: Any) -> None:
    """A pod of it has been waiting, as these facts say."""
    await asleep(loop)
    scale(loop, 1)
    pod(loop, **facts)
    await loop.settle()


async def serving(loop: Loop) -> None:
    await asleep(loop)
    bind(loop)
    scale(loop, 1)
    pod(loop, node="n1", is_ready=True)
    await loop.settle()


def second_pod(loop: Loop, *, message: str, age: float) -> None:
    first = loop.api.get(POD, name=POD_NAME)
    pod(loop, message=message, age=age)
    second = loop.api.get(POD, name=POD_NAME)
    loop.api.put({**second, "metadata": {**second["metadata"], "name": "llama-predictor-2", "uid": "another"}})
    loop.api.put(first)
