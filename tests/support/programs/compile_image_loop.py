"""The operator's loop with a model whose compiled code is in an image: its objects, and the Job that pushes it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from slipway.api.names import OWNER_LABEL
from slipway.contract.pod import PUSHED_START
from slipway.objects.kinds import (
    ACCELERATOR_PROFILE,
    CLUSTER_SERVING_RUNTIME,
    DEPLOYMENT,
    INFERENCE_SERVICE,
    JOB,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    Object,
)
from slipway.operator.installation import Installation
from slipway.operator.rendering.compile_job import is_job_name

from support.builders.stored import LABELS, kube_object, llm
from support.programs.operator_loop import INSTALLATION, Loop, status

REPOSITORY = "registry.example.com/team/caches"
IMAGE = f"{REPOSITORY}@sha256:{'a' * 64}"
JOBS = Installation(INSTALLATION.namespace, INSTALLATION.activators, inspects=("*",))
CPU = {"vendor": "CPU", "resource": {"name": "cpu", "count": 1}, "memory": "64Gi"}
ARGS = ["serve", "vllm", "--model=/mnt/models", "--port=8080"]
RUNTIME = {
    "supportedModelFormats": [{"name": "huggingface"}],
    "containers": [{"name": "kserve-container", "image": "vllm:1", "args": ARGS}],
}
NOT_FOUND = f'Back-off pulling image "{IMAGE}": ErrImagePull: rpc error: code = NotFound desc = {IMAGE}: not found'


def model(**cache: Any) -> Object:
    return llm(
        engine={"name": "vllm", "contextLength": 2048, "maxConcurrency": 4, "compileCache": {"kind": "Image", **cache}},
        accelerator={"profiles": ["cpu"]},
        model={
            "uri": "pvc://models/llama",
            "facts": {"parameters": 1_000_000_000, "layers": 10, "kvHeads": 4, "headDim": 64},
        },
    )


def started(installation: Installation, **cache: Any) -> Loop:
    loop = Loop(installation=installation)
    loop.api.put(kube_object(ACCELERATOR_PROFILE, "cpu", spec=CPU))
    loop.api.put(kube_object(PERSISTENT_VOLUME_CLAIM, "models", status={"phase": "Bound"}))
    loop.api.put(kube_object(CLUSTER_SERVING_RUNTIME, "slipway-vllm-cpu", spec=RUNTIME))
    loop.api.put(model(**cache))
    return loop


def cache(loop: Loop) -> Object:
    found: Object = status(loop)["compileCache"]
    return found


def predictor(loop: Loop) -> Object:
    found: Object = loop.api.get(INFERENCE_SERVICE)["spec"]["predictor"]
    return found


def volume(loop: Loop) -> Object | None:
    return next((each for each in predictor(loop).get("volumes") or [] if each["name"] == "slipway-compiled"), None)


def reference(loop: Loop) -> str:
    """The image that is mounted."""
    found = volume(loop)
    return str(found["image"]["reference"]) if found else ""


def made_by_kserve(loop: Loop, replicas: int, **metadata: Any) -> None:
    """KServe's Deployment, as it makes it from the InferenceService."""
    service = loop.api.get(INFERENCE_SERVICE)
    spec = service["spec"]["predictor"]
    container = {
        "name": "kserve-container",
        "image": "vllm:1",
        "args": [*ARGS, *(spec["model"].get("args") or [])],
        "volumeMounts": spec["model"].get("volumeMounts") or [],
        "readinessProbe": {"httpGet": {"path": "/readyz"}},
    }
    template = {
        "metadata": {"annotations": spec["annotations"], "labels": {**LABELS, "app": "isvc.llama-predictor"}},
        "spec": {"containers": [container], "volumes": spec.get("volumes") or []},
    }
    owner = {"kind": "InferenceService", "uid": service["metadata"]["uid"], "controller": True}
    loop.api.put(
        kube_object(
            DEPLOYMENT,
            "llama-predictor",
            metadata={"labels": LABELS, "ownerReferences": [owner], **metadata},
            spec={"replicas": replicas, "template": template},
            status={"replicas": replicas},
        )
    )


async def asleep(loop: Loop) -> None:
    await loop.settle()
    made_by_kserve(loop, 0)
    await loop.settle()


def waiting_pod(loop: Loop, reason: str, message: str, *, age: float = 0) -> None:
    at = f"{loop.time - timedelta(seconds=age):%Y-%m-%dT%H:%M:%SZ}"
    container = {"name": "kserve-container", "state": {"waiting": {"reason": reason, "message": message}}}
    conditions = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": at}]
    loop.api.put(
        kube_object(
            POD,
            "llama-predictor-1",
            metadata={"labels": LABELS, "creationTimestamp": at},
            spec={"containers": [{"name": "kserve-container"}], "nodeName": "node-1"},
            status={"phase": "Pending", "conditions": conditions, "containerStatuses": [container]},
        )
    )


def jobs(loop: Loop) -> list[Object]:
    """Those that compile; others read the files of the model."""
    return [each for (kind, _, name), each in loop.api.objects.items() if kind == JOB and is_job_name(name, "llama")]


def the_job(loop: Loop) -> Object:
    [job] = jobs(loop)
    return job


def its_pod(loop: Loop, phase: str, state: Object) -> None:
    job = the_job(loop)
    owner = {"kind": "Job", "name": job["metadata"]["name"], "uid": job["metadata"]["uid"], "controller": True}
    container = {"name": "kserve-container", "restartCount": 0, "state": state}
    at = f"{loop.time:%Y-%m-%dT%H:%M:%SZ}"
    loop.api.put(
        kube_object(
            POD,
            f"{job['metadata']['name']}-x",
            metadata={"labels": {OWNER_LABEL: "llama.compile"}, "ownerReferences": [owner], "creationTimestamp": at},
            spec={"nodeName": "node-1", "containers": [{"name": "kserve-container"}]},
            status={"phase": phase, "containerStatuses": [container]},
        )
    )


def runs(loop: Loop) -> None:
    its_pod(loop, "Running", {"running": {}})


def ends(loop: Loop, message: str, *, code: int = 0) -> None:
    """The pod of the Job ends, and so does the Job."""
    at = f"{loop.time:%Y-%m-%dT%H:%M:%SZ}"
    ended = {"exitCode": code, "message": message, "reason": "Error" if code else "Completed", "finishedAt": at}
    its_pod(loop, "Failed" if code else "Succeeded", {"terminated": ended})
    condition = {"type": "Failed" if code else "Complete", "status": "True", "lastTransitionTime": at}
    loop.api.change(JOB, {"status": {"conditions": [condition]}}, name=the_job(loop)["metadata"]["name"])


def pushed(image: str = IMAGE) -> str:
    return PUSHED_START + json.dumps({"image": image, "key": "k", "bytes": 5 << 20})


async def waking(loop: Loop, reason: str, message: str, *, age: float = 0) -> None:
    await asleep(loop)
    made_by_kserve(loop, 1)
    waiting_pod(loop, reason, message, age=age)
    await loop.settle()
