"""What the operator knows of accelerators on a mixed cluster of simulated nodes, and where it lets models run by it.

Each test has nodes and profiles of its own, by a label with the name of its namespace; kwok marks pods on such nodes as
running.
"""

from __future__ import annotations

import pytest
from slipway.api.units import amount
from support.builders import objects
from support.builders.llmdeployments import NAME, OURS
from support.builders.llmdeployments import llama_8b as model
from support.builders.objects import PAUSE
from support.cluster import Kube, Object
from support.cluster.mixed_nodes import Mixed, counts, has
from support.cluster.pods import is_running, why_unschedulable

pytestmark = pytest.mark.usefixtures("slipway", "weights")


# --- the status of profiles ------------------------------------------------------------------------------------------


async def test_the_status_of_each_profile_counts_its_nodes_and_devices(kube: Kube, mixed: Mixed) -> None:
    there = {"h100": 8, "l4": 4, "a100-mig-3g.40gb": 2, "mi300x": 8, "gaudi3": 8, "tpu-v5e": 4}
    for kind, devices in there.items():
        await mixed.profile(kind)
        await mixed.node(kind.replace(".", "-"), kind, devices)
    for kind, devices in there.items():
        await kube.wait_for("acceleratorprofile", mixed.name(kind), counts(nodes=1, allocatable=devices, free=devices))


async def test_the_devices_of_other_programs_are_not_free(kube: Kube, mixed: Mixed) -> None:
    node = await mixed.node("l4", "l4", 4)
    await mixed.fill(node, "l4", 3)
    await mixed.profile("l4")  # all is read at once for a new profile, and otherwise once a minute
    await kube.wait_for("acceleratorprofile", mixed.name("l4"), counts(allocatable=4, free=1))
    await kube.run("cordon", node)
    await kube.wait_for("acceleratorprofile", mixed.name("l4"), counts(nodes=1, free=0))
    assert "1 node is cordoned" in (await kube.get("acceleratorprofile", mixed.name("l4")))["status"]["message"]


async def test_a_node_with_a_taint_of_its_own_does_not_count_and_is_mentioned(kube: Kube, mixed: Mixed) -> None:
    await mixed.profile("l4")
    await mixed.node("l4", "l4", 4, taint="team")
    profile = await kube.wait_for("acceleratorprofile", mixed.name("l4"), counts(nodes=0))
    assert "a taint that the profile doesn't tolerate (team=yes:NoSchedule)" in profile["status"]["message"]


# --- where models run ------------------------------------------------------------------------------------------------


async def test_a_model_runs_on_the_cheapest_node_that_holds_it(kube: Kube, mixed: Mixed) -> None:
    """A T4 is cheaper than an L4, and too small."""
    for kind in ("t4", "l4", "h100"):
        await mixed.profile(kind)
        await mixed.node(kind, kind, 1)
    await kube.apply(model(*map(mixed.name, ("h100", "t4", "l4"))))
    await kube.wait_for("llmdeployment", NAME, has(mixed.name("l4")))
    pod = await kube.wait_for_any("pods", OURS, is_running)
    assert pod["spec"]["nodeName"] == f"l4-{kube.namespace}"


async def test_if_all_devices_of_the_preferred_profile_are_taken_the_next_one_is_used(kube: Kube, mixed: Mixed) -> None:
    """Also if another program has taken them so late that the first plan doesn't know it."""
    for kind in ("l4", "h100"):
        await mixed.profile(kind)
    full = await mixed.node("l4", "l4", 1)
    await mixed.node("h100", "h100", 1)
    await mixed.fill(full, "l4", 1)
    await kube.apply(model(*map(mixed.name, ("l4", "h100")), accelerator={"policy": "InOrder"}))
    await kube.wait_for("llmdeployment", NAME, has(mixed.name("h100")))
    pod = await kube.wait_for_any("pods", OURS, is_running)
    assert pod["spec"]["nodeName"] == f"h100-{kube.namespace}"


async def test_a_profile_of_cpus_without_room_for_a_replica_is_passed_over(kube: Kube, mixed: Mixed) -> None:
    on_cpus: Object = {"vendor": "CPU", "resource": {"name": "cpu", "count": 4}, "devicesPerNode": 1, "memory": "64Gi"}
    for kind in ("first", "second"):
        labels = {"of": kube.namespace, "which": kind}
        await mixed.look_alike("cpu", 8, name=kind, **labels)
        await mixed.profile(kind, nodeLabels=labels, tolerations=[], **on_cpus)
    node = await kube.get("node", f"first-{kube.namespace}")
    taken = {"resources": {"requests": {"cpu": str(amount(node["status"]["allocatable"]["cpu"]) - 3)}}}
    other = objects.pod("other", PAUSE, [], container=taken, nodeName=node["metadata"]["name"])
    await kube.apply(other)
    await kube.wait_for("pod", "other", is_running)
    await kube.apply(model(*map(mixed.name, ("first", "second")), accelerator={"policy": "InOrder"}))
    await kube.wait_for("llmdeployment", NAME, has(mixed.name("second")))
    running = await kube.wait_for_any("pods", OURS, is_running)
    assert running["spec"]["nodeName"] == f"second-{kube.namespace}"


async def test_four_devices_need_a_node_with_four_free(kube: Kube, mixed: Mixed) -> None:
    await mixed.profile("l4")
    for name, devices in (("small", 2), ("half", 4), ("large", 4)):
        await mixed.node(name, "l4", devices)
    await mixed.fill(f"half-{kube.namespace}", "l4", 1)
    await kube.apply(model(mixed.name("l4"), tensor=4))
    pod = await kube.wait_for_any("pods", OURS, is_running)
    assert pod["spec"]["nodeName"] == f"large-{kube.namespace}"


async def test_more_devices_than_any_node_has_are_refused_in_the_plan(kube: Kube, mixed: Mixed) -> None:
    await mixed.profile("l4")
    await mixed.node("l4", "l4", 2)
    await kube.apply(model(mixed.name("l4"), tensor=4))
    words = "a replica wants 4 devices, and no node has more than 2"
    failed = await kube.wait_for("llmdeployment", NAME, lambda it: words in it.get("status", {}).get("message", ""))
    assert failed["status"]["state"] == "Failed"


async def test_a_model_waits_for_a_device_that_is_taken_and_gets_it(kube: Kube, mixed: Mixed) -> None:
    await mixed.profile("l4")
    node = await mixed.node("l4", "l4", 1)
    await mixed.fill(node, "l4", 1)
    await kube.apply(model(mixed.name("l4")))
    await kube.wait_for_any("pods", OURS, lambda pod: bool(why_unschedulable(pod)))
    waits = await kube.wait_for("llmdeployment", NAME, lambda it: "Unschedulable" in str(it.get("status", {})))
    assert waits["status"]["plan"]["accelerator"] == mixed.name("l4")
    await kube.delete("pod", "other", wait=True)
    await kube.wait_for_any("pods", OURS, is_running)


async def test_a_model_runs_on_spot_nodes_only_if_its_spec_allows_them(kube: Kube, mixed: Mixed) -> None:
    spot = {"nodeLabels": {"spot": "yes"}, "tolerations": [{"key": "spot", "operator": "Exists"}]}
    await mixed.profile("l4", spot=spot)
    await mixed.profile("h100")
    await mixed.node("l4", "l4", 1, taint="spot", spot="yes")
    await mixed.node("h100", "h100", 1)
    await kube.apply(model(*map(mixed.name, ("l4", "h100"))))
    await kube.wait_for("llmdeployment", NAME, has(mixed.name("h100")))
    await kube.delete("llmdeployment", NAME, wait=True)
    await kube.apply(model(*map(mixed.name, ("l4", "h100")), accelerator={"spot": "Allowed"}))
    await kube.wait_for("llmdeployment", NAME, has(mixed.name("l4")))
    pod = await kube.wait_for_any("pods", OURS, is_running)
    assert pod["spec"]["nodeName"] == f"l4-{kube.namespace}"


async def test_a_cloud_s_spot_node_without_a_taint_is_used_only_if_the_spec_allows_it(kube: Kube, mixed: Mixed) -> None:
    await mixed.profile("l4")
    node = await mixed.node("l4", "l4", 1, **{"karpenter.sh/capacity-type": "spot"})
    await kube.apply(model(mixed.name("l4")))
    words = "its nodes are all spot nodes, which the spec doesn't allow: set accelerator.spot to Allowed"
    await kube.wait_for("llmdeployment", NAME, lambda it: words in it.get("status", {}).get("message", ""))
    regular = await mixed.node("regular", "l4", 1)
    pod = await kube.wait_for_any("pods", OURS, is_running)
    assert pod["spec"]["nodeName"] == regular
    await kube.delete("llmdeployment", NAME, wait=True)
    await kube.apply(model(mixed.name("l4"), accelerator={"spot": "Required"}))
    pod = await kube.wait_for_any("pods", OURS, is_running)
    assert pod["spec"]["nodeName"] == node


async def test_the_taint_of_a_cloud_s_spot_node_is_tolerated_where_the_spec_allows_it(kube: Kube, mixed: Mixed) -> None:
    label = "kubernetes.azure.com/scalesetpriority"
    await mixed.profile("l4")
    node = await mixed.node("l4", "l4", 1, **{label: "spot"})
    await kube.patch("node", node, {"spec": {"taints": [{"key": label, "value": "spot", "effect": "NoSchedule"}]}})
    await kube.apply(model(mixed.name("l4"), accelerator={"spot": "Allowed"}))
    pod = await kube.wait_for_any("pods", OURS, is_running)
    assert pod["spec"]["nodeName"] == node


async def test_a_node_whose_driver_is_too_old_for_the_image_is_never_used(kube: Kube, mixed: Mixed) -> None:
    """It has more free devices, so that the scheduler would prefer it. The second replica waits instead."""
    await mixed.profile("l4")
    await mixed.node("old", "l4", 8, **{"nvidia.com/cuda.driver.major": "535"})
    new = await mixed.node("new", "l4", 1, **{"nvidia.com/cuda.driver-version.major": "580"})
    scaling = {"minReplicas": 2, "maxReplicas": 2, "autoscaler": "None"}
    await kube.apply(model(mixed.name("l4"), scaling=scaling))
    pod = await kube.wait_for_any("pods", OURS, is_running)
    assert pod["spec"]["nodeName"] == new
    waiting = await kube.wait_for_any("pods", OURS, lambda found: bool(why_unschedulable(found)))
    assert "didn't match Pod's node affinity/selector" in why_unschedulable(waiting)
    found = await kube.get("llmdeployment", NAME)
    assert "Some nodes have driver 535" in str(found["status"]["plan"]["warnings"])


async def test_a_profile_without_nodes_is_planned_if_it_grows_and_its_pod_runs_when_a_node_comes(
    kube: Kube, mixed: Mixed
) -> None:
    await mixed.profile("l4", growable=True)
    await kube.apply(model(mixed.name("l4")))
    await kube.wait_for("llmdeployment", NAME, has(mixed.name("l4")))
    await kube.wait_for_any("pods", OURS, lambda pod: bool(why_unschedulable(pod)))
    await mixed.node("l4", "l4", 1)
    await kube.wait_for_any("pods", OURS, is_running)


async def test_a_profile_without_nodes_is_planned_as_soon_as_there_is_one(kube: Kube, mixed: Mixed) -> None:
    await mixed.profile("l4")
    await kube.apply(model(mixed.name("l4")))
    words = "the cluster has no node with it"
    await kube.wait_for("llmdeployment", NAME, lambda it: words in it.get("status", {}).get("message", ""))
    await mixed.node("l4", "l4", 1)
    await kube.wait_for("llmdeployment", NAME, has(mixed.name("l4")))


async def test_a_running_model_stays_where_it_is_when_a_cheaper_node_comes(kube: Kube, mixed: Mixed) -> None:
    for kind in ("l4", "h100"):
        await mixed.profile(kind)
    await mixed.node("h100", "h100", 1)
    await kube.apply(model(*map(mixed.name, ("l4", "h100"))))
    pod = await kube.wait_for_any("pods", OURS, is_running)
    await mixed.node("l4", "l4", 1)
    await kube.wait_for("acceleratorprofile", mixed.name("l4"), counts(nodes=1))
    await kube.never("llmdeployment", has(mixed.name("l4")), seconds=3)
    assert (await kube.get("pod", pod["metadata"]["name"]))["metadata"]["uid"] == pod["metadata"]["uid"]
