"""Inputs and outputs of rendering for unit tests: a spec, profiles, runtimes, each as small as possible."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.llmdeployment import LLMDeployment
from slipway.api.names import ACTIVATOR_SERVICE, RUNTIME_LABEL
from slipway.objects.kinds import Object
from slipway.observing.porttable import ActivatorPort
from slipway.observing.snapshot import Snapshot
from slipway.operator.installation import Installation
from slipway.operator.planning import Plan, make_plan
from slipway.operator.rendering import Desired, Unrenderable, render
from slipway.operator.rendering.pinning import runtime_name
from slipway.operator.rendering.scaling import predictor_deployment

from support.builders.llmdeployments import llmdeployment
from support.repository import ACCELERATORS, documents

READY = [{"type": "Ready", "status": "True"}]
NO_PLACE = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "Insufficient gpu"}]

GPU_TAINT = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}


def profile(name: str, **spec: Any) -> AcceleratorProfile:
    """An NVIDIA GPU, two per node by default."""
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
    made = llmdeployment(name) | {"spec": {"model": {"uri": "hf://org/model"}, **spec}}
    made["metadata"] |= {"namespace": "chat", "uid": "4711", "annotations": annotations or {}}
    return LLMDeployment.model_validate(made)


def on_h100(**spec: Any) -> LLMDeployment:
    return deployment(**({"accelerator": {"profiles": ["h100"]}} | spec))


def runtime(name: str, **container: Any) -> Object:
    """A ServingRuntime; it counts as one of Slipway's release if its name starts with `slipway-`. From its first digit
    on, the name is that of the version."""
    engine = re.sub(r"-\d.*", "", name)
    return {
        "metadata": {"name": name, "labels": {RUNTIME_LABEL: engine} if name.startswith("slipway-") else {}},
        "spec": {
            "supportedModelFormats": [{"name": "huggingface"}],
            "containers": [{"name": "kserve-container", **container}],
        },
    }


def plan(wanted: LLMDeployment, profiles: list[AcceleratorProfile] | None = None) -> Plan:
    made = make_plan(wanted.spec, PROFILES if profiles is None else profiles, name=wanted.metadata.name)
    assert isinstance(made, Plan), made
    return made


def rendered(wanted: LLMDeployment, planned: Plan, **facts: Any) -> Desired | Unrenderable:
    """What is rendered where the cluster shows these facts: see `snapshot_with`."""
    fields = ("version", "namespace", "prometheus_namespaces", "fetcher")
    installation = Installation(**{name: facts.pop(name) for name in fields if name in facts})
    return render(wanted, planned, snapshot_with(wanted.metadata.name, planned.runtime, **facts), installation)


def desired(wanted: LLMDeployment, **facts: Any) -> Desired:
    planned = plan(wanted)
    answer = rendered(wanted, planned, **({"serving_runtime": runtime(planned.runtime)} | facts))
    assert isinstance(answer, Desired), answer
    return answer


def snapshot_with(  # noqa: PLR0913 - one for each fact that rendering depends on
    name: str,
    runtime_of_plan: str,
    *,
    serving_runtime: Object | None,
    pods_runtime: Object | None = None,
    inference_service: Object | None = None,
    deployment: Object | None = None,
    activator: tuple[str, ...] | None = None,
    activator_service: str = ACTIVATOR_SERVICE,
    activator_port: int | None = None,
    has_ready: bool = False,
    has_pods: bool = False,
    more_pods: tuple[Object, ...] = (),
    has_missing: bool = False,
    is_updating: bool = False,
    lacks_room: bool = False,
    kinds: frozenset[Any] = frozenset(),
    now: datetime = datetime(2026, 11, 20, 12, tzinfo=UTC),
    status: Object | None = None,
    **more: Any,
) -> Snapshot:
    """A cluster in which these facts hold: of pods and Deployments, as few as it takes."""
    pods_runtimes = {runtime_name(inference_service or {}): pods_runtime} if pods_runtime else {}
    runtimes = {**pods_runtimes, **({runtime_of_plan: serving_runtime} if serving_runtime else {})}
    pods = [
        *([_pod("ready", READY)] if has_ready else []),
        *([_pod("placed", [], node="gpu-1")] if has_pods else []),
        *([_pod("unplaced", NO_PLACE)] if lacks_room else []),
        *more_pods,
    ]
    predictor = {"metadata": {"name": predictor_deployment(name), **(deployment or {}).get("metadata", {})}}
    made = [{**deployment, **predictor}] if deployment else []
    if has_missing or is_updating or lacks_room:
        counts = {"replicas": 2, "updatedReplicas": 1} if is_updating or lacks_room else {}
        made.append({"metadata": {"name": "another"}, "spec": {"replicas": 9}, "status": counts})
    return Snapshot(
        now=now,
        llm_deployment={"status": status} if status else {},
        runtimes=runtimes,
        inference_service=inference_service,
        deployments=tuple(made),
        pods=tuple(pods),
        activators={} if activator is None else {activator_service: activator},
        port=ActivatorPort(activator_service, activator_port) if activator_port else None,
        kinds=kinds,
        **more,
    )


def _pod(name: str, conditions: list[Object], *, node: str = "") -> Object:
    return {
        "metadata": {"name": name, "uid": name},
        "spec": {"nodeName": node} if node else {},
        "status": {"conditions": conditions},
    }


def manifests(answer: Desired) -> list[Object]:
    return [child.manifest for child in answer.apply]


def of_kind(answer: Desired, kind: str) -> Object:
    [found] = [manifest for manifest in manifests(answer) if manifest["kind"] == kind]
    return found


def predictor(wanted: LLMDeployment, **world: Any) -> Object:
    found: Object = of_kind(desired(wanted, **world), "InferenceService")["spec"]["predictor"]
    return found


def arguments(wanted: LLMDeployment, **world: Any) -> list[str]:
    found: list[str] = predictor(wanted, **world)["model"].get("args", [])
    return found


def shipped_profiles() -> list[AcceleratorProfile]:
    """Returns the profiles that Slipway's chart installs."""
    return [AcceleratorProfile.model_validate(thing) for thing in documents(ACCELERATORS)]
