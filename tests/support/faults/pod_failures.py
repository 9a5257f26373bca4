"""Everything that can go wrong with a model's pods, each as the smallest objects that really cause it.

The programs print what the real ones print (vLLM, KServe's storage initializer); all the rest is done by Kubernetes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from slipway.observing.cause import Cause

from support.builders.llmdeployments import NAME
from support.builders.objects import PAUSE, Object, claim, deployment_of, manifest, python

LABELS = {"slipway.dev/llmdeployment": NAME}
ENGINE, DOWNLOADER = "kserve-container", "storage-initializer"


@dataclass(frozen=True)
class PodFailure:
    """What to apply, given an image with Python, and the cause that the operator must read from the cluster."""

    name: str
    reason: str
    words: str  # a part of the pod's own message, which must be in the cause's message
    objects: Callable[[str], list[Object]]
    final: bool | None = None  # None: this failure doesn't test it
    timeout: float = 90

    def describes(self, cause: Cause) -> bool:
        fits = cause.reason == self.reason and self.words in cause.message
        return fits and self.final in (None, cause.final)


def model(pod: Object | None = None, **container: Any) -> Object:
    """A Deployment with one replica, as KServe makes it."""
    engine = {
        "name": ENGINE,
        "image": PAUSE,
        "imagePullPolicy": "IfNotPresent",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **container,
    }
    spec = {
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "containers": [engine],
        **(pod or {}),
    }
    return deployment_of(spec, name=f"{NAME}-predictor", pod_labels=LABELS, replicas=1, labels=LABELS)


def says_and_fails(text: str, *, code: int = 1) -> list[str]:
    """Returns the command of a program that logs this text and exits."""
    return python(f"import sys; print({text!r}, file=sys.stderr); sys.exit({code})")


def crash(name: str, reason: str, text: str, **more: Any) -> PodFailure:
    """An engine that starts, logs this text, and exits with an error."""
    words = more.pop("words", text.strip().splitlines()[-1]).rstrip(".")
    return PodFailure(name, reason, words, lambda image: [model(image=image, command=says_and_fails(text))], **more)


def download(name: str, reason: str, text: str, **more: Any) -> PodFailure:
    """A storage initializer that logs this text and exits with an error."""
    words = more.pop("words", text.strip().splitlines()[-1]).rstrip(".")

    def objects(image: str) -> list[Object]:
        init = {
            "name": DOWNLOADER,
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "command": says_and_fails(text),
        }
        return [model({"initContainers": [init]})]

    return PodFailure(name, reason, words, objects, **more)


def simple(name: str, reason: str, words: str, *objects: Object, **more: Any) -> PodFailure:
    return PodFailure(name, reason, words, lambda _: list(objects), **more)


def claim_volume(name: str) -> Object:
    return {"volumes": [{"name": "weights", "persistentVolumeClaim": {"claimName": name}}]}


def probe(port: int = 1, *, period: int = 1, failures: int = 2) -> Object:
    return {"tcpSocket": {"port": port}, "periodSeconds": period, "failureThreshold": failures}


CLAIM = claim("weights", storage="1Gi", storageClassName="")
QUOTA = manifest("v1", "ResourceQuota", "team", spec={"hard": {"pods": "0"}})
LIMITS = manifest("v1", "LimitRange", "team", spec={"limits": [{"type": "Container", "max": {"memory": "16Mi"}}]})
EATS_MEMORY = python("eaten = []\nwhile True: eaten.append(bytearray(b'x' * (1 << 22)))")
SLEEPS = python("import time; time.sleep(3600)")
SMALL = {"limits": {"memory": "48Mi"}, "requests": {"memory": "48Mi"}}
NO_GRACE = {"terminationGracePeriodSeconds": 0}


SECRET_KEY = {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "key"}}}
TEMPLATES = {"name": "templates", "configMap": {"name": "templates"}}
MOUNT = {"name": "templates", "mountPath": "/templates"}
H100 = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}


def starts_never(image: str) -> list[Object]:
    slow = {"startupProbe": {**probe(), "terminationGracePeriodSeconds": 1}}
    return [model(image=image, command=SLEEPS, **slow)]


def ready_never(image: str) -> list[Object]:
    return [model(image=image, command=SLEEPS, readinessProbe=probe())]


def out_of_memory(image: str) -> list[Object]:
    return [model(image=image, command=EATS_MEMORY, resources=SMALL)]


def out_of_memory_while_downloading(image: str) -> list[Object]:
    init = {
        "name": DOWNLOADER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": EATS_MEMORY,
        "resources": SMALL,
    }
    return [model({"initContainers": [init]})]


ROOT_CAUSE_ABOVE = (
    "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore': 1}"
)
NO_KV_ROOM = (
    "ValueError: To serve at least one request with the model's max seq len (100000), (1.53 GiB KV cache is needed, "
    "which is larger than the available KV cache memory (1.0 GiB). Based on the available memory, the estimated "
    "maximum model length is 65408."
)
UNKNOWN_ARCHITECTURE = (
    "ValueError: Model architectures ['MambaNext'] are not supported for now. "
    "Supported architectures: dict_keys(['LlamaForCausalLM'])"
)
NO_REPOSITORY = (
    "huggingface_hub.errors.RepositoryNotFoundError: 404 Client Error. "
    "Repository Not Found for url: https://huggingface.co/api/models/none/such."
)
GATED = (
    "huggingface_hub.errors.GatedRepoError: 403 Client Error. "
    "Access to model meta-llama/Llama-3.1-8B is restricted and you are not in the authorized list."
)
NO_CONNECTION = "Traceback (most recent call last):\nConnectionError: Max retries exceeded with url: /v1/blobs"
GPU_FULL = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
UNKNOWN_ARGUMENT = "usage: api_server.py [-h]\napi_server.py: error: unrecognized arguments: --nope"
RUNTIME_LINE = json.dumps(
    {"reason": "GpuOutOfMemory", "message": "13.9 GiB of weights don't fit into the 12.0 GiB that are free"}
)

POD_FAILURES = [
    # --- the image
    simple(
        "image-name-invalid",
        "ImageNameInvalid",
        "couldn't parse image name",
        model(image="Not/An:Image:Name"),
        final=True,
    ),
    simple(
        "image-never-loaded",
        "ImagePullFailed",
        "is not present with pull policy of Never",
        model(image="localhost/nobody/made-this:1", imagePullPolicy="Never"),
    ),
    simple(
        "registry-unreachable",
        "ImagePullFailed",
        "connection refused",
        model(image="localhost:1/team/model:1"),
        final=False,
    ),
    # --- a place to run
    simple(
        "no-such-node",
        "Unschedulable",
        "didn't match Pod's node affinity/selector",
        model({"nodeSelector": {"nvidia.com/gpu.product": "none-of-that"}}),
    ),
    simple(
        "no-free-device",
        "Unschedulable",
        "Insufficient nvidia.com/gpu",
        model({"tolerations": [{"operator": "Exists"}]}, resources={"limits": {"nvidia.com/gpu": "64"}}),
    ),
    simple(
        "no-memory-left", "Unschedulable", "Insufficient memory", model(resources={"requests": {"memory": "9000Gi"}})
    ),
    simple("tainted", "Unschedulable", "untolerated taint", model({"nodeSelector": H100})),
    simple("claim-unbound", "VolumeNotReady", "unbound", CLAIM, model(claim_volume("weights"))),
    simple(
        "claim-missing", "PodConfigError", 'persistentvolumeclaim "weights" not found', model(claim_volume("weights"))
    ),
    # --- the container can't be made
    simple("secret-missing", "PodConfigError", 'secret "keys" not found', model(env=[SECRET_KEY])),
    simple("program-missing", "BadEngineArguments", "not-there", model(command=["/not-there"])),
    simple(
        "volume-missing",
        "PodConfigError",
        'configmap "templates" not found',
        model({"volumes": [TEMPLATES]}, volumeMounts=[MOUNT]),
    ),
    # --- the weights
    download("download-failed", "ModelDownloadFailed", NO_CONNECTION),
    download("model-not-found", "ModelNotFound", NO_REPOSITORY),
    download("model-access-denied", "ModelAccessDenied", GATED),
    PodFailure("download-out-of-memory", "HostOutOfMemory", "48Mi", out_of_memory_while_downloading),
    # --- the engine
    PodFailure("out-of-memory", "HostOutOfMemory", "48Mi", out_of_memory),
    crash("context-too-long", "ContextTooLong", f"{NO_KV_ROOM}\n{ROOT_CAUSE_ABOVE}", words=NO_KV_ROOM),
    crash("gpu-out-of-memory", "GpuOutOfMemory", f"{GPU_FULL}\n{ROOT_CAUSE_ABOVE}", words=GPU_FULL),
    crash("architecture-unsupported", "UnsupportedArchitecture", UNKNOWN_ARCHITECTURE),
    crash("arguments-bad", "BadEngineArguments", UNKNOWN_ARGUMENT),
    crash("model-file-missing", "ModelNotFound", "RuntimeError: Cannot find any model weights with `/mnt/models`"),
    crash(
        "driver-too-old",
        "DriverMismatch",
        "RuntimeError: The NVIDIA driver on your system is too old (found version 11040).",
    ),
    crash("runtime-explains", "GpuOutOfMemory", RUNTIME_LINE, words="13.9 GiB of weights don't fit"),
    # english: words of a recorded log, which tests compare
    crash("crashed", "EngineCrashed", "Segmentation fault: nobody knows why"),
    crash("crash-loop", "CrashLoop", "Segmentation fault: again", words="next try at", final=True, timeout=150),
    # --- the probes
    PodFailure("starts-never", "StartTimeout", "connection refused", starts_never),
    PodFailure("ready-never", "EngineStuck", "connection refused", ready_never, timeout=180),
    # --- the rules of the cluster
    simple("quota-exceeded", "QuotaExceeded", "exceeded quota: team", QUOTA, model()),
    simple(
        "admission-denied",
        "AdmissionDenied",
        "maximum memory usage per Container is 16Mi",
        LIMITS,
        model(resources={"limits": {"memory": "32Mi"}}),
    ),
]
