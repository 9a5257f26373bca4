"""Small worlds for unit tests: a spec, profiles, runtimes, as little of each as it takes."""

from __future__ import annotations

from typing import Any

from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.llmdeployment import LLMDeployment
from slipway.api.names import RUNTIME_LABEL
from slipway.operator.planning import Plan, make_plan
from slipway.operator.rendering import Desired, World, render

Object = dict[str, Any]

GPU_TAINT = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}


def profile(name: str, **spec: Any) -> AcceleratorProfile:
    """An NVIDIA GPU of which a node has two, unless told otherwise."""
    gpu = {
        "vendor": "NVIDIA",
        "resource": {"name": "nvidia.com/gpu"},
        "devicesPerNode": 2,
        "memory": "80Gi",
        "nodeLabels": {"gpu": name},
        "tolerations": [GPU_TAINT],
    }
    given = gpu | spec
    if "deviceClass" in given:
        del given["resource"]
    return AcceleratorProfile.model_validate({"metadata": {"name": name}, "spec": given})


def cpu(name: str = "cpu", **spec: Any) -> AcceleratorProfile:
    plain: Object = {"vendor": "CPU", "resource": {"name": "cpu", "count": 1}, "memory": "16Gi"}
    return profile(name, **(plain | {"nodeLabels": {}, "tolerations": []} | spec))


PROFILES = [profile("h100", spot={"nodeLabels": {"spot": "yes"}, "tolerations": [{"key": "spot"}]}), cpu()]


def deployment(name: str = "llama", *, annotations: dict[str, str] | None = None, **spec: Any) -> LLMDeployment:
    metadata = {"name": name, "namespace": "chat", "uid": "4711", "annotations": annotations or {}}
    return LLMDeployment.model_validate({"metadata": metadata, "spec": {"model": {"uri": "hf://org/model"}, **spec}})


def on_h100(**spec: Any) -> LLMDeployment:
    return deployment(**({"accelerator": {"profiles": ["h100"]}} | spec))


def runtime(name: str, **container: Any) -> Object:
    """One of a release, if it is called like one."""
    return {
        "metadata": {"name": name, "labels": {RUNTIME_LABEL: name} if name.startswith("slipway-") else {}},
        "spec": {
            "supportedModelFormats": [{"name": "huggingface"}],
            "containers": [{"name": "kserve-container", **container}],
        },
    }


def plan(wanted: LLMDeployment, profiles: list[AcceleratorProfile] | None = None) -> Plan:
    made = make_plan(wanted.spec, PROFILES if profiles is None else profiles, name=wanted.metadata.name)
    assert isinstance(made, Plan), made
    return made


def desired(wanted: LLMDeployment, **world: Any) -> Desired:
    planned = plan(wanted)
    answer = render(wanted, planned, World(**({"serving_runtime": runtime(planned.runtime)} | world)))
    assert isinstance(answer, Desired), answer
    return answer


def of_kind(answer: Desired, kind: str) -> Object:
    [found] = [thing for thing in answer.apply if thing["kind"] == kind]
    return found


def predictor(wanted: LLMDeployment, **world: Any) -> Object:
    found: Object = of_kind(desired(wanted, **world), "InferenceService")["spec"]["predictor"]
    return found


def arguments(wanted: LLMDeployment, **world: Any) -> list[str]:
    found: list[str] = predictor(wanted, **world)["model"].get("args", [])
    return found
