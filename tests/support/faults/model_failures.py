"""What can go wrong with a model that Slipway runs: each as an LLMDeployment `model`, and objects around it.

The containers are those of `pod_failures`, in a ServingRuntime of the namespace; other messages are from Slipway's own
engine and from KServe's programs.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from support.builders.llmdeployments import NAME, llmdeployment, on_own_engine, own_runtime
from support.builders.objects import Object, manifest, python
from support.cluster.kube import Kube
from support.faults import pod_failures
from support.faults.pod_failures import EATS_MEMORY, H100, QUOTA, SLEEPS, probe, says_and_fails

USUAL = 60.0  # seconds within which the status reports a failure, unless the failure says otherwise


@dataclass(frozen=True)
class ModelFailure:
    """What to apply, given an image with Python, and the reason that the status must report."""

    name: str
    reason: str
    words: str  # a part of the original message
    objects: Callable[[str], list[Object]] = lambda _: []
    is_final: bool = True  # waiting doesn't help
    timeout: float = USUAL

    @property
    def state(self) -> str:
        return "Failed" if self.is_final else "Waking"


def engine(name: str, reason: str, words: str, /, command: list[str] | None = None, **more: Any) -> ModelFailure:
    """A model with such a container; a command runs in the image with Python."""
    given = {each: more.pop(each) for each in ("is_final", "timeout") if each in more}

    def objects(image: str) -> list[Object]:
        runs: Object = {"image": image, "command": command} if command else {}
        return [own_runtime(terminationMessagePolicy="FallbackToLogsOnError", **runs, **more), on_own_engine()]

    return ModelFailure(name, reason, words, objects, **given)


def spec(name: str, reason: str, words: str, *others: Object, is_final: bool = False, **spec: Any) -> ModelFailure:
    """A model with this in its spec, in a namespace with these objects."""
    return ModelFailure(name, reason, words, lambda _: [*others, own_runtime(), on_own_engine(**spec)], is_final)


def llamacpp(name: str, reason: str, words: str, **spec: Any) -> ModelFailure:
    """A model with Slipway's own engine, and a folder without a model."""
    given = {
        "model": {"uri": "pvc://weights/"},
        "engine": {"name": "llamacpp"},
        "scaling": {"minReplicas": 1},
        "pod": {"resources": {"requests": {"cpu": "10m", "memory": "64Mi"}}},
        **spec,
    }
    return ModelFailure(name, reason, words, lambda _: [llmdeployment(NAME, given)])


# --- a download ------------------------------------------------------------------------------------------------------

DOWNLOADS = {
    "hf://slipway/unreachable": pod_failures.NO_CONNECTION,
    "hf://slipway/missing": pod_failures.NO_REPOSITORY,
    "hf://slipway/gated": pod_failures.GATED,
}
"""The messages of KServe's storage initializer about a source; in tests, a program prints them in its place."""

ACCEPTED = "hf_right"
"""The token that may read the gated model."""
SAYS_OF_SOURCE = python(
    f"import os, sys; may_read = os.environ.get('HF_TOKEN') == '{ACCEPTED}' and 'gated' in sys.argv[1]; "
    f"sys.exit(0 if may_read else {json.dumps(DOWNLOADS)}[sys.argv[1]])"
)


@contextmanager
def scripted_downloads(kube: Kube, image: str) -> Iterator[None]:
    """Replaces KServe's storage initializer in the cluster."""
    kind, name = "clusterstoragecontainer", "default"
    before = asyncio.run(kube.get(kind, name))["spec"]["container"]
    container = {"image": image, "command": SAYS_OF_SOURCE, "securityContext": None}
    asyncio.run(kube.patch(kind, name, {"spec": {"container": container}}))
    try:
        yield
    finally:
        asyncio.run(kube.patch(kind, name, {"spec": {"container": {**before, "command": None}}}))


def download(name: str, reason: str, uri: str, **more: Any) -> ModelFailure:
    words = DOWNLOADS[uri].splitlines()[-1].rstrip(".")
    return ModelFailure(name, reason, words, lambda _: [own_runtime(), on_own_engine(uri=uri)], **more)


# --- the table -------------------------------------------------------------------------------------------------------

NO_INFERENCE_SERVICES = manifest(
    "v1", "ResourceQuota", "no-models", spec={"hard": {"count/inferenceservices.serving.kserve.io": "0"}}
)
ONE_LINE = "2 tensors are missing from model-00002-of-00004.safetensors"
EXPLAINED = json.dumps({"reason": "ModelCorrupt", "message": ONE_LINE})

MODEL_FAILURES = [
    # --- those that take long begin first
    engine(
        "ready-never", "EngineStuck", "connection refused", SLEEPS, readinessProbe=probe(), is_final=False, timeout=110
    ),
    engine("crash-loop", "CrashLoop", "next try at", says_and_fails("Segmentation fault"), timeout=110),
    engine(
        "starts-never",
        "StartTimeout",
        "connection refused",
        SLEEPS,
        startupProbe={**probe(), "terminationGracePeriodSeconds": 1},
    ),
    # --- the image
    engine("image-name-wrong", "ImageNameInvalid", "couldn't parse image name", image="Not/An:Image:Name"),
    engine(
        "image-not-pulled", "ImagePullFailed", "connection refused", image="localhost:1/team/model:1", is_final=False
    ),
    # --- a place to run
    spec(
        "no-such-node",
        "NoAcceleratorFits",
        "mi300x: the cluster has no node with it, and nothing that would add one",
        is_final=True,
        accelerator={"profiles": ["mi300x"]},
    ),
    spec(
        "no-such-number-of-devices",
        "NoAcceleratorFits",
        "h100-80gb: a replica wants 8 devices, and no node has more than 2",
        is_final=True,
        accelerator={"profiles": ["h100-80gb"]},
        engine={"parallelism": {"tensor": 8}},
    ),
    spec("tainted", "Unschedulable", "No node is both of the right kind and open to all", pod={"nodeSelector": H100}),
    # --- the weights
    download("download-failed", "ModelDownloadFailed", "hf://slipway/unreachable", is_final=False),
    download("model-not-found", "ModelNotFound", "hf://slipway/missing"),
    download("model-access-denied", "ModelAccessDenied", "hf://slipway/gated"),
    llamacpp("model-file-missing", "ModelNotFound", "No .gguf file in /mnt/models"),
    # --- the engine
    engine("arguments-bad", "BadEngineArguments", "--nope", says_and_fails(pod_failures.UNKNOWN_ARGUMENT)),
    engine(
        "out-of-memory",
        "HostOutOfMemory",
        "its memory limit of 48Mi",
        EATS_MEMORY,
        resources=pod_failures.SMALL,
    ),
    engine("says-why", "GpuOutOfMemory", pod_failures.GPU_FULL, says_and_fails(pod_failures.GPU_FULL)),
    engine("runtime-explains", "ModelCorrupt", ONE_LINE, says_and_fails(EXPLAINED)),
    # --- the rules of the cluster
    spec("quota-of-pods", "QuotaExceeded", "exceeded quota: team", QUOTA),
    spec("quota-of-models", "QuotaExceeded", "exceeded quota: no-models", NO_INFERENCE_SERVICES),
    spec(
        "too-large",
        "AdmissionDenied",
        "maximum memory usage per Container is 16Mi",
        pod_failures.LIMITS,
        pod={"resources": {"limits": {"memory": "32Mi"}}},
        is_final=True,
    ),
]
