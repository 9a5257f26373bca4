"""Pods that request GPUs land on nodes that simulate them, and really run where the real node advertises one."""

from typing import Any

import pytest
from slipway_devcluster.addresses import NODE_NAME
from support.builders import objects
from support.cluster import AnyCluster, Kube
from support.cluster.pods import is_running, run_to_end, why_unschedulable

TOLERATION = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
H100, A100, L4 = "NVIDIA-H100-80GB-HBM3", "NVIDIA-A100-SXM4-80GB", "NVIDIA-L4"


@pytest.fixture(autouse=True)
def gpus(cluster: AnyCluster) -> None:
    """Only clusters that the tests create are guaranteed to have these nodes."""
    cluster.devcluster()


def gpus_of(count: int) -> dict[str, Any]:
    return {"resources": {"limits": {"nvidia.com/gpu": str(count)}}}


@pytest.mark.parametrize(
    ("product", "count", "node"), [(H100, 2, "gpu-h100-0"), (A100, 1, "gpu-a100-0"), (L4, 3, "gpu-l4-0")]
)
async def test_a_pod_lands_on_the_look_alike_that_has_its_gpus(kube: Kube, product: str, count: int, node: str) -> None:
    selector = {"nvidia.com/gpu.product": product}
    pod = objects.pod(
        "model", objects.PAUSE, [], container=gpus_of(count), tolerations=[TOLERATION], nodeSelector=selector
    )
    await kube.apply(pod)
    running = await kube.wait_for("pod", "model", is_running)
    assert running["spec"]["nodeName"] == node


async def test_a_pod_that_requests_more_gpus_than_any_node_has_stays_pending(kube: Kube) -> None:
    await kube.apply(objects.pod("model", objects.PAUSE, [], container=gpus_of(8), tolerations=[TOLERATION]))
    pending = await kube.wait_for("pod", "model", lambda pod: bool(why_unschedulable(pod)))
    assert "Insufficient nvidia.com/gpu" in why_unschedulable(pending)


async def test_a_pod_without_the_toleration_stays_off_the_look_alikes(kube: Kube) -> None:
    selector = {"nvidia.com/gpu.product": H100}
    await kube.apply(objects.pod("model", objects.PAUSE, [], container=gpus_of(1), nodeSelector=selector))
    pending = await kube.wait_for("pod", "model", lambda pod: bool(why_unschedulable(pod)))
    assert "untolerated taint" in why_unschedulable(pending)


async def test_a_pod_that_requests_a_gpu_of_the_real_node_really_runs(kube: Kube, python_image: str) -> None:
    program = objects.python("import os; print(os.uname().nodename)")
    assert await run_to_end(kube, objects.pod("real", python_image, program, container=gpus_of(1))) == "real\n"
    assert (await kube.get("pod", "real"))["spec"]["nodeName"] == NODE_NAME
