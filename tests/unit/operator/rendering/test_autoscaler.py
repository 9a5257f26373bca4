"""The HorizontalPodAutoscaler: its metric, its bounds, and that replicas never have two writers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from slipway.api.llmdeployment import LLMDeployment
from slipway.objects.kinds import HORIZONTAL_POD_AUTOSCALER, SCALED_OBJECT, ObjectKey
from slipway.operator.rendering import Desired, ReplicaBounds
from support.builders.rendering import deployment, desired, manifests, of_kind, on_h100

HPA = "HorizontalPodAutoscaler"
OURS = ObjectKey(HORIZONTAL_POD_AUTOSCALER, "chat", "llama")
SCALED = ObjectKey(SCALED_OBJECT, "chat", "llama")
BY_HPA = {"autoscaler": "HPA", "minReplicas": 1, "maxReplicas": 4}
SERVING: dict[str, Any] = {
    "inference_service": {"metadata": {"annotations": {"serving.kserve.io/autoscalerClass": "external"}}},
    "deployment": {"spec": {"replicas": 1}},
}
WITH_KEDA: dict[str, Any] = {**SERVING, "kinds": frozenset({SCALED_OBJECT}), "activator": ("10.0.0.1",)}


def autoscaler(wanted: LLMDeployment, **world: Any) -> Any:
    return of_kind(desired(wanted, **(SERVING | world)), HPA)["spec"]


def llama(**scaling: Any) -> LLMDeployment:
    return deployment(engine={"name": "llamacpp"}, scaling=BY_HPA | scaling)


def test_it_scales_the_deployment_of_kserve_within_the_bounds_of_the_spec() -> None:
    spec = autoscaler(llama())
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llama-predictor"}
    assert (spec["minReplicas"], spec["maxReplicas"]) == (1, 4)


def test_llamacpp_is_scaled_by_the_cpu_of_its_container() -> None:
    [metric] = autoscaler(llama())["metrics"]
    assert metric["containerResource"] == {
        "name": "cpu",
        "container": "kserve-container",
        "target": {"type": "Utilization", "averageUtilization": 80},
    }


@pytest.mark.parametrize(
    ("wanted", "each"),
    [
        (llama(target={"inFlight": 3}), "3"),
        (llama(target={"inFlight": "Auto"}), "4"),
        (on_h100(scaling=BY_HPA), "256"),
        (deployment(engine={"name": "sglang"}, scaling=BY_HPA), "16"),
    ],
    ids=["the spec's number", "the plan's slots", "vllm's sequences", "an unknown engine"],
)
def test_other_engines_are_scaled_by_the_requests_of_each_replica(wanted: LLMDeployment, each: str) -> None:
    [metric] = autoscaler(wanted)["metrics"]
    assert metric["pods"] == {
        "metric": {"name": "slipway_requests_in_flight"},
        "target": {"type": "AverageValue", "averageValue": each},
    }


def test_the_schedule_raises_the_minimum() -> None:
    entry = {"cron": "0 8 * * *", "duration": "10h", "minReplicas": 3}
    at_noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    assert autoscaler(llama(schedule=[entry]), now=at_noon)["minReplicas"] == 3


# --- one writer ------------------------------------------------------------------------------------------------------


def writers(answer: Desired) -> set[str]:
    """Returns which programs would change the number of replicas."""
    kinds = {obj["kind"] for obj in manifests(answer)} & {HPA, "ScaledObject"}
    return kinds | ({"Slipway"} if answer.replicas else set())


WRITERS: dict[str, tuple[LLMDeployment, dict[str, Any], set[str]]] = {
    "HPA": (llama(), WITH_KEDA, {HPA}),
    "HPA, at zero, from where it doesn't scale": (
        llama(),
        WITH_KEDA | {"deployment": {"spec": {"replicas": 0}}},
        {HPA, "Slipway"},
    ),
    "HPA, without a Deployment": (llama(), {}, {"Slipway"}),
    "HPA, the ScaledObject still exists": (llama(), WITH_KEDA | {"scaled_object": {}}, {"Slipway"}),
    "HPA, with a fixed number of replicas": (llama(maxReplicas=1), SERVING, {"Slipway"}),
    "KEDA": (llama(autoscaler="KEDA"), WITH_KEDA, {"ScaledObject"}),
    "KEDA, the HPA still exists": (llama(autoscaler="KEDA"), WITH_KEDA | {"autoscaler": {}}, {"Slipway"}),
    "None": (llama(autoscaler="None"), WITH_KEDA, {"Slipway"}),
}


@pytest.mark.parametrize(("wanted", "world", "expected"), WRITERS.values(), ids=WRITERS)
def test_replicas_have_one_writer(wanted: LLMDeployment, world: dict[str, Any], expected: set[str]) -> None:
    assert writers(desired(wanted, **world)) == expected


@pytest.mark.parametrize("replicas", [0, 1])
def test_a_deployment_below_its_minimum_is_scaled_up_immediately(replicas: int) -> None:
    world = WITH_KEDA | {"deployment": {"spec": {"replicas": replicas}}}
    assert desired(llama(minReplicas=2), **world).replicas == ReplicaBounds("llama-predictor", 2, 4)


@pytest.mark.parametrize(
    ("autoscaler", "goes"),
    [("KEDA", {OURS}), ("HPA", {SCALED}), ("None", {OURS, SCALED})],
)
def test_the_previous_autoscaler_is_deleted(autoscaler: str, goes: set[ObjectKey]) -> None:
    assert set(desired(llama(autoscaler=autoscaler), **WITH_KEDA).delete) == goes


def test_a_paused_deployment_has_no_autoscaler_and_no_bounds() -> None:
    paused = deployment(engine={"name": "llamacpp"}, scaling=BY_HPA, annotations={"slipway.dev/paused": "true"})
    answer = desired(paused, **SERVING)
    assert OURS in answer.delete
    assert writers(answer) == set()
