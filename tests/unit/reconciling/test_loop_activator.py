"""Turns of the loop where the activator is installed: who leads to whom, and on which port."""

from __future__ import annotations

import pytest
from slipway.api.names import activator_slice
from slipway.kube.kinds import (
    DEPLOYMENT,
    ENDPOINT_SLICE,
    HORIZONTAL_POD_AUTOSCALER,
    INFERENCE_SERVICE,
    LLM_DEPLOYMENT,
    SCALED_OBJECT,
    SERVICE,
    Object,
)
from support.small_cluster import Loop
from support.turns import cause, condition, made_by_kserve, pod, status, thing

EXTRA = activator_slice("llama")


def activator(*addresses: str) -> Object:
    """The slice of the activator's own Service, as Kubernetes keeps it."""
    labels = {"app.kubernetes.io/managed-by": "slipway", "kubernetes.io/service-name": "slipway-activator"}
    endpoints = [{"addresses": [address], "conditions": {"ready": True}} for address in addresses]
    return thing(
        ENDPOINT_SLICE, "slipway-activator-1", "slipway-system", metadata={"labels": labels}, endpoints=endpoints
    )


def leads(loop: Loop) -> list[bool]:
    """Of each endpoint of the extra slice: whether requests go there, or it stands by."""
    return [each["conditions"]["ready"] for each in loop.api.get(ENDPOINT_SLICE, name=EXTRA)["endpoints"]]


@pytest.fixture
def with_activator(loop: Loop) -> Loop:
    loop.api.put(activator("10.0.0.8", "10.0.0.9"))
    return loop


async def test_a_model_at_zero_is_reached_through_the_activator_and_scaled_by_keda(with_activator: Loop) -> None:
    loop = with_activator
    await loop.turn()
    assert loop.api.writes()[:2] == ["apply Service", "apply EndpointSlice"]
    loop.api.put(made_by_kserve(owner=loop.api.get(INFERENCE_SERVICE)))
    await loop.settle()
    assert loop.api.get(SCALED_OBJECT)
    assert leads(loop) == [True, True]
    assert cause(loop) == ("Idle", "ScaledToZero")
    assert condition(loop, "Reachable")["status"] == "True"
    await loop.turn()
    assert loop.api.requests == []


async def test_the_slice_follows_the_replicas_that_are_ready(with_activator: Loop) -> None:
    loop = with_activator
    for is_ready in (False, True, False, True):
        loop.api.put(pod(is_ready=is_ready))
        await loop.settle()
        assert leads(loop) == [not is_ready] * 2


async def test_the_slice_follows_the_activators_replicas(with_activator: Loop) -> None:
    loop = with_activator
    await loop.settle()
    loop.api.put(activator("10.0.0.7"))
    await loop.turn()
    assert loop.api.writes() == ["apply EndpointSlice"]
    assert [each["addresses"] for each in loop.api.get(ENDPOINT_SLICE, name=EXTRA)["endpoints"]] == [["10.0.0.7"]]
    loop.api.put(activator())
    await loop.settle()
    assert condition(loop, "Reachable")["reason"] == "ActivatorUnavailable"


async def test_a_deployment_keeps_its_port(with_activator: Loop) -> None:
    loop = with_activator
    await loop.settle()
    annotation = {"slipway.dev/activator-port": "20123"}
    port = loop.api.get(SERVICE)["metadata"]["annotations"]["slipway.dev/activator-port"]
    loop.api.change(SERVICE, {"metadata": {"annotations": annotation}})
    await loop.turn()
    assert loop.api.get(SERVICE)["metadata"]["annotations"]["slipway.dev/activator-port"] == port


async def test_keda_scales_alone_where_it_is_asked_to(with_activator: Loop) -> None:
    loop = with_activator
    loop.api.put(made_by_kserve(replicas=7))
    await loop.settle()
    loop.api.change(DEPLOYMENT, {"spec": {"replicas": 9}}, name="llama-predictor")
    await loop.turn()
    assert "scale Deployment" not in loop.api.writes()


async def test_who_has_scaled_goes_before_another_begins(with_activator: Loop) -> None:
    loop = with_activator
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"scaling": {"minReplicas": 1, "maxReplicas": 3}}})
    loop.api.put(made_by_kserve(replicas=2))
    await loop.settle()
    for before, after in ((SCALED_OBJECT, HORIZONTAL_POD_AUTOSCALER), (HORIZONTAL_POD_AUTOSCALER, SCALED_OBJECT)):
        who = "HPA" if after is HORIZONTAL_POD_AUTOSCALER else "KEDA"
        loop.api.change(LLM_DEPLOYMENT, {"spec": {"scaling": {"autoscaler": who}}})
        await loop.turn()
        assert of_scaling(loop) == [f"delete {before}"]
        await loop.turn()
        assert of_scaling(loop) == [f"apply {after}"]
    await loop.settle()
    await loop.turn()
    assert loop.api.requests == []


def of_scaling(loop: Loop) -> list[str]:
    kinds = (str(SCALED_OBJECT), str(HORIZONTAL_POD_AUTOSCALER), str(DEPLOYMENT))
    return [write for write in loop.api.writes() if write.endswith(kinds)]


async def test_a_model_that_any_key_wakes_says_so(with_activator: Loop) -> None:
    loop = with_activator
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"access": {"apiKeysSecret": "keys"}}})
    loop.api.allows = False
    await loop.turn()
    [remark] = [each for each in status(loop)["plan"]["why"] if each.startswith("access.apiKeysSecret")]
    assert "apply manifests/samples/keys-at-zero.yaml" in remark
    loop.api.allows = True
    await loop.settle(turns=10)
    assert not [each for each in status(loop)["plan"]["why"] if each.startswith("access.apiKeysSecret")]
