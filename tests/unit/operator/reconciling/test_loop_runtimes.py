"""Which serving runtimes exist decides whether a model can start, whether or not one of its pods runs."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.objects.kinds import (
    CLUSTER_SERVING_RUNTIME,
    CONFIG_MAP,
    INFERENCE_SERVICE,
    LLM_DEPLOYMENT,
    POD,
    SERVING_RUNTIME,
    Object,
)
from support.builders.stored import kube_object, made_by_kserve, pod
from support.programs.operator_loop import Loop, condition, state_and_reason, status

PAUSED = {"annotations": {"slipway.dev/paused": "true"}}
MISSING = "There is no ServingRuntime or ClusterServingRuntime own: create one, or choose vllm or llamacpp"
AFTERWARDS = "Once no replica answers, requests are refused."
SITUATIONS: dict[str, tuple[int, Object, str]] = {
    "asleep": (0, {}, "Failed"),
    "asleep and paused": (0, PAUSED, "Failed"),
    "running": (1, {}, "Degraded"),
    "running and paused": (1, PAUSED, "Degraded"),
}


def own_runtime(**spec: Any) -> Object:
    container = {"name": "kserve-container", **spec.pop("container", {})}
    formats = [{"name": "gguf"}]
    return kube_object(
        SERVING_RUNTIME, "own", spec={"supportedModelFormats": formats, "containers": [container], **spec}
    )


async def settled(loop: Loop, replicas: int, metadata: Object) -> None:
    """As it is long after its creation, with so many replicas that are ready."""
    loop.api.change(LLM_DEPLOYMENT, {"metadata": metadata})
    await loop.settle()
    loop.api.put(made_by_kserve(replicas, owner=loop.api.get(INFERENCE_SERVICE)))
    if replicas:
        loop.api.put(pod(is_ready=True))
    await loop.settle()


def name_engine(loop: Loop, name: str = "own", generation: int = 2) -> None:
    metadata = {"generation": generation}
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"engine": {"name": name}}, "metadata": metadata})


@pytest.mark.parametrize("situation", SITUATIONS)
async def test_an_engine_that_does_not_exist_is_reported_and_changes_no_pod(loop: Loop, situation: str) -> None:
    replicas, metadata, state = SITUATIONS[situation]
    await settled(loop, replicas, metadata)
    before = loop.api.get(INFERENCE_SERVICE)
    name_engine(loop)
    await loop.settle()
    assert status(loop)["state"] == state
    assert MISSING in status(loop)["message"]
    assert (AFTERWARDS in status(loop)["message"]) == bool(replicas)
    assert [condition(loop, each)["reason"] for each in ("Planned", "Stalled")] == ["RuntimeMissing"] * 2
    assert condition(loop, "Ready")["status"] == str(bool(replicas))
    assert loop.api.get(INFERENCE_SERVICE) == before


@pytest.mark.parametrize("metadata", [{}, PAUSED], ids=["", "paused"])
async def test_a_new_model_with_an_engine_that_does_not_exist_has_no_inference_service(
    loop: Loop, metadata: Object
) -> None:
    loop.api.change(LLM_DEPLOYMENT, {"metadata": metadata})
    name_engine(loop, generation=1)
    await loop.settle()
    assert state_and_reason(loop) == ("Failed", "RuntimeMissing")
    assert "apply InferenceService" not in loop.api.writes()


async def test_once_its_engine_exists_or_is_corrected_a_sleeping_model_is_idle_again(loop: Loop) -> None:
    await settled(loop, 0, {})
    name_engine(loop)
    await loop.settle()
    loop.api.put(own_runtime())
    await loop.settle()
    assert state_and_reason(loop) == ("Idle", "ScaledToZero")
    loop.delete(SERVING_RUNTIME, name="own")
    await loop.settle()
    assert state_and_reason(loop) == ("Failed", "RuntimeMissing")
    name_engine(loop, "llamacpp", generation=3)
    await loop.settle()
    assert state_and_reason(loop) == ("Idle", "ScaledToZero")


async def test_a_model_whose_runtime_is_deleted_serves_on_and_says_what_its_next_wake_would_meet(loop: Loop) -> None:
    loop.api.put(own_runtime())
    name_engine(loop, generation=1)
    await settled(loop, 1, {})
    assert status(loop)["state"] == "Serving"
    loop.delete(SERVING_RUNTIME, name="own")
    await loop.settle()
    assert status(loop)["state"] == "Degraded"
    assert condition(loop, "Ready")["status"] == "True"
    assert status(loop)["message"].endswith(f"which are part of Slipway. {AFTERWARDS}")
    loop.delete(POD, name="llama-predictor-1")
    loop.api.put(made_by_kserve(0, owner=loop.api.get(INFERENCE_SERVICE)))
    await loop.settle()
    assert state_and_reason(loop) == ("Failed", "RuntimeMissing")


async def test_a_runtime_that_is_disabled_is_reported_at_zero(loop: Loop) -> None:
    await settled(loop, 0, {})
    loop.api.put(own_runtime(disabled=True))
    name_engine(loop)
    await loop.settle()
    assert state_and_reason(loop) == ("Failed", "RuntimeMissing")
    assert "The ServingRuntime own is disabled: set its spec.disabled to false" in status(loop)["message"]


async def test_a_runtime_of_slipway_that_is_deleted_is_reported_at_zero_with_the_chart(loop: Loop) -> None:
    await settled(loop, 0, {})
    loop.delete(CLUSTER_SERVING_RUNTIME, namespace="", name="slipway-llamacpp")
    await loop.settle()
    assert state_and_reason(loop) == ("Failed", "RuntimeMissing")
    assert "by its value runtimes.llamacpp.enabled" in status(loop)["message"]


async def test_what_its_own_runtime_names_and_the_cluster_lacks_is_reported_at_zero(loop: Loop) -> None:
    source = {"configMapKeyRef": {"name": "templates", "key": "chat"}}
    loop.api.put(own_runtime(container={"env": [{"name": "TEMPLATE", "valueFrom": source}]}))
    name_engine(loop, generation=1)
    await settled(loop, 0, {})
    assert state_and_reason(loop) == ("Failed", "PodConfigError")
    assert "ServingRuntime own names ConfigMap templates, which doesn't exist" in status(loop)["message"]
    loop.api.put(kube_object(CONFIG_MAP, "templates", data={"chat": "{{ messages }}"}))
    loop.pass_time(30)
    await loop.settle()
    assert state_and_reason(loop) == ("Idle", "ScaledToZero")


async def test_a_runtime_that_is_too_large_to_be_read_is_named(loop: Loop) -> None:
    await settled(loop, 0, {})
    loop.api.put(own_runtime(container={"args": ["x" * 70_000]}))
    name_engine(loop)
    await loop.settle()
    assert state_and_reason(loop) == ("Failed", "RuntimeMissing")
    assert "The ServingRuntime own has no spec, or is larger than 64 KiB" in condition(loop, "Ready")["message"]


async def test_what_a_runtime_names_in_another_form_than_kubernetes_has_is_passed_over(loop: Loop) -> None:
    """KServe can be installed with CRDs that have no schema."""
    await settled(loop, 0, {})
    env: list[object] = [{"valueFrom": {"secretKeyRef": "text"}}, "text", {"name": "A", "valueFrom": []}]
    volumes = ["text", {"secret": {"secretName": 1}}]
    loop.api.put(own_runtime(container={"env": env, "envFrom": {"a": 1}}, volumes=volumes))
    name_engine(loop)
    await loop.settle()
    assert state_and_reason(loop)[0] == "Idle"
