"""How requests reach the activator, and how KEDA queries it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from slipway.objects.kinds import SCALED_OBJECT, ObjectKey
from support.builders.rendering import desired, manifests, of_kind, on_h100

KEDA = frozenset({SCALED_OBJECT})
ACTIVATOR: dict[str, Any] = {"activator": ("10.0.0.8", "10.0.0.9"), "activator_port": 20123}
AWAKE: dict[str, Any] = {
    "inference_service": {
        "metadata": {"uid": "1", "annotations": {"serving.kserve.io/autoscalerClass": "external"}},
    },
    "deployment": {"metadata": {"ownerReferences": [{"uid": "1"}]}, "spec": {"replicas": 1}},
}


def kinds(**world: Any) -> list[str]:
    return [obj["kind"] for obj in manifests(desired(on_h100(), **world))]


def extra(**world: Any) -> dict[str, Any]:
    return of_kind(desired(on_h100(), **(ACTIVATOR | world)), "EndpointSlice")


# --- the slice -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("has_ready", "conditions"),
    [
        (False, {"ready": True, "serving": True, "terminating": False}),
        (True, {"ready": False, "serving": True, "terminating": True}),
    ],
    ids=["no ready replica: requests go to the activator", "a ready replica: they don't"],
)
def test_requests_go_to_the_activator_while_no_replica_is_ready(has_ready: bool, conditions: dict[str, bool]) -> None:
    assert [each["conditions"] for each in extra(has_ready=has_ready)["endpoints"]] == [conditions] * 2


def test_the_slice_belongs_to_the_service_and_has_the_name_of_its_port() -> None:
    found = extra()
    service = of_kind(desired(on_h100(), **ACTIVATOR), "Service")
    assert found["metadata"]["labels"]["kubernetes.io/service-name"] == service["metadata"]["name"]
    assert found["ports"] == [{"name": service["spec"]["ports"][0]["name"], "port": 20123, "protocol": "TCP"}]
    assert [each["addresses"] for each in found["endpoints"]] == [["10.0.0.8"], ["10.0.0.9"]]


@pytest.mark.parametrize(
    ("addresses", "family", "kept"),
    [
        (("fd00::8",), "IPv6", ["fd00::8"]),
        (("10.0.0.8", "fd00::8"), "IPv4", ["10.0.0.8"]),
        ((), "IPv4", []),
    ],
)
def test_a_slice_has_addresses_of_one_family(addresses: tuple[str, ...], family: str, kept: list[str]) -> None:
    found = extra(activator=addresses)
    assert found["addressType"] == family
    assert [each["addresses"] for each in found["endpoints"]] == [[each] for each in kept]


@pytest.mark.parametrize("missing", ACTIVATOR)
def test_without_an_activator_there_is_no_slice(missing: str) -> None:
    assert "EndpointSlice" not in kinds(**(ACTIVATOR | {missing: None}))


# --- the ScaledObject ------------------------------------------------------------------------------------------------


def test_keda_queries_only_the_activator() -> None:
    answer = desired(on_h100(scaling={"maxReplicas": 3}), kinds=KEDA, **ACTIVATOR, **AWAKE)
    spec = of_kind(answer, "ScaledObject")["spec"]
    assert spec["triggers"] == [
        {"type": "external-push", "metadata": {"scalerAddress": "slipway-activator.slipway-system:9090"}}
    ]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (0, 3)
    assert spec["scaleTargetRef"]["name"] == "llama-predictor"
    assert "fallback" not in spec


def test_keda_queries_the_activator_that_has_the_port() -> None:
    answer = desired(on_h100(), kinds=KEDA, **ACTIVATOR, **AWAKE, activator_service="second")
    [trigger] = of_kind(answer, "ScaledObject")["spec"]["triggers"]
    assert trigger["metadata"]["scalerAddress"] == "second.slipway-system:9090"


def test_replicas_have_one_writer() -> None:
    assert desired(on_h100(), kinds=KEDA, **ACTIVATOR, **AWAKE).replicas is None
    assert desired(on_h100(), **ACTIVATOR, **AWAKE).replicas is not None


@pytest.mark.parametrize(
    "world",
    [
        {**ACTIVATOR, **AWAKE},
        {"kinds": KEDA, **AWAKE},
        {"kinds": KEDA, **ACTIVATOR},
        {"kinds": KEDA, **ACTIVATOR, "inference_service": AWAKE["inference_service"]},
    ],
    ids=["no KEDA", "no activator", "not external yet", "no Deployment yet"],
)
def test_there_is_no_scaled_object_before_everything_that_it_needs(world: dict[str, Any]) -> None:
    assert "ScaledObject" not in kinds(**world)


def test_another_autoscaler_in_the_spec_deletes_the_scaled_object() -> None:
    answer = desired(on_h100(scaling={"autoscaler": "None", "minReplicas": 1}), kinds=KEDA, **ACTIVATOR, **AWAKE)
    assert ObjectKey(SCALED_OBJECT, "chat", "llama") in answer.delete
    assert answer.replicas is not None


def test_keda_keeps_the_minimum_of_the_schedule() -> None:
    entry = {"cron": "0 8 * * *", "duration": "10h", "minReplicas": 2}
    wanted = on_h100(scaling={"maxReplicas": 3, "schedule": [entry]})
    answer = desired(wanted, kinds=KEDA, now=datetime(2026, 11, 20, 12, tzinfo=UTC), **ACTIVATOR, **AWAKE)
    assert of_kind(answer, "ScaledObject")["spec"]["minReplicaCount"] == 2
    assert answer.look_again_at == datetime(2026, 11, 20, 18, tzinfo=UTC)
    assert "scaling.schedule: 2 replicas are kept by '0 8 * * *' for 10h." in answer.remarks


def test_keda_leaves_the_replicas_of_a_paused_deployment_as_they_are() -> None:
    answer = desired(on_h100(annotations={"slipway.dev/paused": "true"}), kinds=KEDA, **ACTIVATOR, **AWAKE)
    annotations = of_kind(answer, "ScaledObject")["metadata"]["annotations"]
    assert annotations == {"autoscaling.keda.sh/paused": "true"}
