"""An LLMDeployment that names only a model of the catalogue, on a cluster of many kinds of nodes with their real labels
and taints: where the real scheduler starts it, and what its status says.

The profiles are the shipped ones. Some nodes are those of each test cluster: two H100s, one A100, four L4s.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from support.builders.llmdeployments import NAME, OURS
from support.builders.objects import manifest
from support.cluster import Kube, Object, Operator, conditions, current_status
from support.cluster.mixed_nodes import Mixed, counts, has
from support.cluster.pods import is_running

BESIDES = {"t4": 1, "a100-mig-3g.40gb": 2, "gaudi3": 8, "tpu-v5e": 4, "cpu": 1}
L4, H100 = "gpu-l4-0", "gpu-h100-0"
MIG = "a100-80gb-mig-3g.40gb"


@pytest.fixture
async def nodes(kube: Kube, mixed: Mixed, slipway: Operator) -> AsyncIterator[Mixed]:
    """Waits at the start until the nodes of another test are no longer counted, and at the end until the devices of the
    cluster's own nodes are free again."""
    for profile in (MIG, "mi300x"):
        await kube.wait_for("acceleratorprofile", profile, counts(nodes=0), timeout=90)
    for kind, devices in BESIDES.items():
        await mixed.look_alike(kind, devices)
    await mixed.look_alike("l4", 8, name="reserved", taint="team")
    await kube.wait_for("acceleratorprofile", MIG, counts(nodes=1), timeout=90)
    yield mixed
    await kube.delete("llmdeployment", NAME, wait=True)
    for pod in await kube.select("pods"):
        await kube.delete("pod", pod["metadata"]["name"], wait=True)


def named(uri: str) -> Object:
    """Nothing but the model, and one replica, so that its pod can be seen."""
    spec = {"model": {"uri": uri}, "scaling": {"minReplicas": 1}}
    return manifest("slipway.dev/v1alpha1", "LLMDeployment", NAME, spec=spec)


def limits(pod: Object) -> Object:
    [container] = [each for each in pod["spec"]["containers"] if each["name"] == "kserve-container"]
    found: Object = {name: each for name, each in container["resources"]["limits"].items() if "/" in name}
    return found


@pytest.mark.parametrize(
    ("uri", "profile", "node", "devices"),
    [
        ("hf://Qwen/Qwen3-0.6B", "t4", "t4-{}", {"nvidia.com/gpu": "1"}),
        ("hf://Qwen/Qwen3-8B", "l4", L4, {"nvidia.com/gpu": "1"}),
        ("hf://Qwen/Qwen3-14B", "l4", L4, {"nvidia.com/gpu": "2"}),
        ("hf://meta-llama/Llama-3.3-70B-Instruct", "mi300x", "mi300x-{}", {"amd.com/gpu": "1"}),
    ],
)
async def test_a_model_that_is_only_named_runs_on_the_cheapest_node_that_holds_it(
    kube: Kube, nodes: Mixed, uri: str, profile: str, node: str, devices: Object
) -> None:
    """By the shipped profiles' memory and prices; a CPU, although cheaper, comes last. The weights in 16 bits: 0.6B are
    1.1 GiB, and fit on a T4 (15 GiB, at 0.35); 8B are 15.3 GiB, and fit on an L4 (22 GiB, at 0.70) and not on the T4;
    14B are 27.5 GiB, and two L4s (1.40) cost less than a MIG instance (2.00); 70B are 131 GiB, and one MI300X (192 GiB,
    at 6.00) costs less than two H100s (14.00). There is only one A100."""
    await nodes.look_alike("mi300x", 8)
    await kube.wait_for("acceleratorprofile", "mi300x", counts(nodes=1))
    await kube.apply(named(uri))
    planned = await kube.wait_for("llmdeployment", NAME, has(profile))
    pod = await kube.wait_for_any("pods", OURS, is_running)
    assert pod["spec"]["nodeName"] == node.format(kube.namespace)
    assert limits(pod) == devices
    plan = current_status(planned)["plan"]
    assert plan["gpusPerReplica"] == int(*devices.values())
    assert plan["kvTokens"] >= plan["contextLength"] > 0
    assert "the cheapest of" in plan["why"][0]
    assert plan["memory"]
    assert plan["expected"]


async def test_where_the_cheapest_nodes_are_full_the_next_kind_is_used(kube: Kube, nodes: Mixed) -> None:
    """14B don't fit on the one L4 that is left; the MIG instance of 40 GB is the cheapest of the rest."""
    await nodes.fill(L4, "l4", 3)
    await kube.apply(named("hf://Qwen/Qwen3-14B"))
    await kube.wait_for("llmdeployment", NAME, has(MIG))
    pod = await kube.wait_for_any("pods", OURS, is_running)
    assert pod["spec"]["nodeName"] == f"a100-mig-3g-40gb-{kube.namespace}"
    assert limits(pod) == {"nvidia.com/mig-3g.40gb": "1"}


async def test_a_model_that_fits_nowhere_says_what_to_change_and_the_change_works(kube: Kube, nodes: Mixed) -> None:
    """Mixtral 8x22B has 141 B weights, 262 GiB in 16 bits; the largest node has two H100s."""
    await kube.apply(named("hf://mistralai/Mixtral-8x22B-Instruct-v0.1"))
    change = "Any one of these is enough there: engine.quantization: FP8."
    refused = await kube.wait_for("llmdeployment", NAME, lambda it: change in it.get("status", {}).get("message", ""))
    assert conditions(refused)["Planned"] == ("False", "NoAcceleratorFits")
    assert (
        "would not start: model fits on no accelerator profile. On 2x h100-80gb" in current_status(refused)["message"]
    )
    assert await kube.select("pods", OURS) == []
    await kube.patch("llmdeployment", NAME, {"spec": {"engine": {"quantization": "FP8"}}})
    planned = await kube.wait_for("llmdeployment", NAME, has("h100-80gb"))
    assert current_status(planned)["plan"]["gpusPerReplica"] == 2
    pod = await kube.wait_for_any("pods", OURS, is_running)
    assert (pod["spec"]["nodeName"], limits(pod)) == (H100, {"nvidia.com/gpu": "2"})
