"""LLMDeployments for tests. All of them start from `llmdeployment`; the others say what they add to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway.api.names import OWNER_LABEL

from support.builders.models import FACTS_OF_LLAMA_8B
from support.builders.objects import PAUSE, Object, manifest, serving_runtime

MODEL_SPEC: Object = {"model": {"uri": "pvc://models/llama"}}
PROFILE_SPEC: Object = {"vendor": "NVIDIA", "resource": {"name": "nvidia.com/gpu"}, "memory": "80Gi"}

NAME = "model"
PREDICTOR = f"{NAME}-predictor"
OURS = f"{OWNER_LABEL}={NAME}"
CHILDREN = ("service", "networkpolicy", "inferenceservice")
MADE = (*CHILDREN, "deployment")
"""The children, and the Deployment that KServe makes."""

CLASS = "serving.kserve.io/autoscalerClass"
GEMMA_CLAIM = "gemma"
"""The claim with the demo model's weights."""

GEMMA_FACTS: Object = {
    "parameters": 268_098_176,
    "layers": 18,
    "attentionHeads": 4,
    "kvHeads": 1,
    "headDim": 256,
    "hiddenSize": 640,
    "vocabularySize": 262_144,
    "contextLength": 32_768,
    "weights": "246587904",
}
"""Of the demo model, for a plan with sizes and a speed."""

OWN_ENGINE = "own"
"""The engine's name of a ServingRuntime in the test's namespace, by which a test decides what runs in the pods."""

READY_AT_ONCE = {"tcpSocket": {"host": "127.0.0.1", "port": 10248}, "periodSeconds": 1}
"""A probe of the kubelet's own port: without any probe, KServe adds one for a port on which these containers don't
listen."""

NEW_VERSION: Object = {"spec": {"pod": {"env": [{"name": "APP_A", "value": "1"}]}}}
"""A change for which the pods must be replaced."""


# --- the smallest ones -----------------------------------------------------------------------------------------------


def llmdeployment(name: str = NAME, spec: Object | None = None) -> Object:
    """The smallest valid LLMDeployment, with `spec` merged over it. All others are made by it."""
    return manifest("slipway.dev/v1alpha1", "LLMDeployment", name, spec=merged(MODEL_SPEC, spec or {}))


def acceleratorprofile(name: str = "gpu", spec: Object | None = None) -> Object:
    """The smallest valid AcceleratorProfile, with `spec` merged over it."""
    return manifest("slipway.dev/v1alpha1", "AcceleratorProfile", name, spec=merged(PROFILE_SPEC, spec or {}))


def cpu_profile(name: str, *, bandwidth: str, tera: float) -> Object:
    """A CPU with a speed, so that a plan expects one: bytes a second, and operations of 16 bits in units of 10^12."""
    compute = {"fp16": tera, "bf16": tera, "int8": 2 * tera}
    of_cpu = {"vendor": "CPU", "resource": {"name": "cpu", "count": 1}, "memory": "16Gi"}
    return acceleratorprofile(name, {**of_cpu, "bandwidth": bandwidth, "compute": compute})


def merged(base: Object, change: Object) -> Object:
    """Merges as a JSON merge patch does: objects are merged, null removes, and any other value replaces the old one."""
    result = dict(base)
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(base.get(key, {}), dict):
            result[key] = merged(base.get(key, {}), value)
        else:
            result[key] = value
    return result


# --- models at zero --------------------------------------------------------------------------------------------------


def at_zero(name: str = NAME, **spec: Any) -> Object:
    """The cheapest model: no pod runs and no request arrives, so nothing that it names needs to exist."""
    base: Object = {
        "model": {"uri": "s3://models/llama"},
        "engine": {"name": "llamacpp"},
        "scaling": {"minReplicas": 0},
    }
    return llmdeployment(name, merged(base, spec))


def fleet_model(name: str, **spec: Any) -> Object:
    """A model at zero with small limits."""
    return at_zero(name, **merged(_small(), spec))


def sleeping_model(name: str, *, at_once: int = 4, **spec: Any) -> Object:
    """The demo model at zero, with limits for busy machines: one CPU, and requests that are held up to 20 minutes."""
    base: Object = {
        "model": {"uri": f"pvc://{GEMMA_CLAIM}/"},
        "engine": {"contextLength": 512, "maxConcurrency": at_once},
        "scaling": {"maxReplicas": 1, "idleAfter": "60s", "hold": {"timeout": "20m"}},
        "pod": {"resources": {"requests": {"cpu": "50m", "memory": "512Mi"}, "limits": {"cpu": "1", "memory": "2Gi"}}},
    }
    return at_zero(name, **merged(base, spec))


# --- models that run -------------------------------------------------------------------------------------------------


def gemma(*, min_replicas: int, **spec: Any) -> Object:
    """The demo model. Each member of `spec` replaces the one here entirely."""
    base: Object = {"model": {"uri": f"pvc://{GEMMA_CLAIM}/"}, "scaling": {"minReplicas": min_replicas}, **_small()}
    return llmdeployment("gemma", base | spec)


def on_own_engine(name: str = NAME, *, replicas: int = 1, uri: str = "pvc://weights/", **spec: Any) -> Object:
    """A model whose pods run what the namespace's own ServingRuntime says; it needs the claim `weights`."""
    base: Object = {
        "model": {"uri": uri},
        "engine": {"name": OWN_ENGINE},
        "scaling": {"minReplicas": replicas, "maxReplicas": max(replicas, 1)},
        "rollout": {"drainTimeout": "1s"},
    }
    return llmdeployment(name, merged(base, spec))


def own_runtime(pod: Mapping[str, Any] | None = None, *, name: str = OWN_ENGINE, **container: Any) -> Object:
    """The ServingRuntime of `on_own_engine`; by default, its container is ready immediately and does nothing."""
    idle: Object = {"image": PAUSE, "imagePullPolicy": "IfNotPresent", "readinessProbe": READY_AT_ONCE}
    return serving_runtime(name, {**idle, **container}, **(pod or {}))


def llama_8b(*profiles: str, tensor: int | str = "Auto", **spec: Any) -> Object:
    """A model whose plan has sizes, on one of these profiles; it needs the claim `weights`."""
    base: Object = {
        "model": {"uri": "pvc://weights/", "facts": FACTS_OF_LLAMA_8B},
        "engine": {"name": "vllm", "contextLength": 4096, "parallelism": {"tensor": tensor}},
        "accelerator": {"profiles": list(profiles)},
        "scaling": {"minReplicas": 1, "autoscaler": "None"},
    }
    return llmdeployment(NAME, merged(base, spec))


def _small() -> Object:
    """An engine and resources that fit on any machine."""
    return {
        "engine": {"name": "llamacpp", "contextLength": 1024, "maxConcurrency": 2},
        "pod": {"resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}}},
    }
