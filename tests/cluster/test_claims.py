"""Pods that claim devices of a DeviceClass (dynamic resource allocation): the real scheduler allocates them.

The driver of these tests only publishes devices; on simulated nodes, nothing has to prepare them.
"""

from __future__ import annotations

import pytest
from support.builders.llmdeployments import llmdeployment
from support.builders.objects import manifest
from support.cluster import Kube, Object, Operator
from support.cluster.mixed_nodes import Mixed, counts
from support.cluster.pods import is_running, why_unschedulable

KIND = "h100"


@pytest.fixture
async def driver(kube: Kube, mixed: Mixed) -> str:
    """It has published one device on the node `small`, two on `large`; an AcceleratorProfile names its DeviceClass."""
    driver = f"{kube.namespace}.example.com"
    selector = {"cel": {"expression": f"device.driver == '{driver}'"}}
    await mixed.apply(manifest("resource.k8s.io/v1", "DeviceClass", driver, spec={"selectors": [selector]}))
    for name, devices in (("small", 1), ("large", 2)):
        await mixed.claimed(name, KIND, devices, driver=driver)
    await mixed.profile(KIND, resource=None, deviceClass=driver)
    return driver


def model(name: str, profile: str, devices: int) -> Object:
    spec: Object = {
        "model": {"uri": "pvc://weights/"},
        "engine": {"name": "vllm", "contextLength": 4096, "parallelism": {"tensor": devices}},
        "accelerator": {"profiles": [profile]},
        "scaling": {"minReplicas": 1, "autoscaler": "None"},
    }
    return llmdeployment(name, spec)


def of(name: str) -> str:
    return f"slipway.dev/llmdeployment={name}"


def is_allocated(claim: Object) -> bool:
    return bool(claim.get("status", {}).get("allocation"))


async def test_the_status_of_a_profile_counts_the_devices_that_a_driver_publishes(
    slipway: Operator, kube: Kube, mixed: Mixed, driver: str
) -> None:
    there = counts(nodes=2, allocatable=3, free=3, mostOnANode=2, mostFreeOnANode=2)
    await kube.wait_for("acceleratorprofile", mixed.name(KIND), there)


async def test_two_devices_are_allocated_on_the_node_that_has_two(
    slipway: Operator, kube: Kube, mixed: Mixed, driver: str, weights: None
) -> None:
    await kube.apply(model("first", mixed.name(KIND), 2))
    pod = await kube.wait_for_any("pods", of("first"), is_running)
    large = f"large-{kube.namespace}"
    assert pod["spec"]["nodeName"] == large
    claim = await kube.wait_for_any("resourceclaims", of("first"), is_allocated)
    assert claim["metadata"]["ownerReferences"][0]["name"] == pod["metadata"]["name"]
    results = claim["status"]["allocation"]["devices"]["results"]
    assert {(each["driver"], each["pool"], each["device"]) for each in results} == {
        (driver, large, "gpu-0"),
        (driver, large, "gpu-1"),
    }


async def test_a_model_waits_while_all_devices_are_allocated_and_gets_them_afterwards(
    slipway: Operator, kube: Kube, mixed: Mixed, driver: str, weights: None
) -> None:
    await kube.apply(model("first", mixed.name(KIND), 2))
    await kube.wait_for_any("pods", of("first"), is_running)
    await kube.apply(model("second", mixed.name(KIND), 2))
    waits = await kube.wait_for("llmdeployment", "second", lambda it: "Unschedulable" in str(it.get("status", {})))
    assert "No node has enough devices free for the claim" in waits["status"]["message"]
    await kube.wait_for_any("pods", of("second"), lambda pod: bool(why_unschedulable(pod)))
    await kube.wait_for("acceleratorprofile", mixed.name(KIND), counts(free=1, mostFreeOnANode=1))
    await kube.delete("llmdeployment", "first")
    pod = await kube.wait_for_any("pods", of("second"), is_running)
    assert pod["spec"]["nodeName"] == f"large-{kube.namespace}"


async def test_more_devices_than_any_node_publishes_are_refused_in_the_plan(
    slipway: Operator, kube: Kube, mixed: Mixed, driver: str, weights: None
) -> None:
    await kube.apply(model("first", mixed.name(KIND), 4))
    words = "a replica wants 4 devices, and no node has more than 2"
    await kube.wait_for("llmdeployment", "first", lambda it: words in it.get("status", {}).get("message", ""))
