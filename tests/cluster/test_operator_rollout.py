"""A new version starts next to the old one where there is a spare GPU, and otherwise after the old one has stopped.

The nodes with GPUs are simulated, and pods only seem to run on them: only scheduling is tested here.
"""

from __future__ import annotations

from typing import Any

import pytest
from support.builders.llmdeployments import NAME, NEW_VERSION, OURS, PREDICTOR, on_own_engine, own_runtime
from support.cluster import AnyCluster, Kube, Object, Operator, current_status, settled, until_settled

pytestmark = pytest.mark.usefixtures("slipway", "weights")

SURGES = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


@pytest.fixture(autouse=True)
def gpus(cluster: AnyCluster) -> None:
    """Only clusters that the tests create are guaranteed to have these nodes: one with two H100, one with one A100."""
    cluster.devcluster()


def on(profile: str, **spec: Any) -> Object:
    return on_own_engine(accelerator={"profiles": [profile]}, **spec)


async def test_with_a_spare_gpu_the_new_version_starts_next_to_the_old_one(kube: Kube) -> None:
    await kube.apply(own_runtime())
    await settled(kube, on("h100-80gb"), "Serving")
    async with kube.recording("pods", selector=OURS) as pods:
        async with kube.passing("llmdeployment", NAME, has_reason("the new replica starts next to the old one")):
            await kube.patch("llmdeployment", NAME, NEW_VERSION)
        after = await until_settled(kube, state="Serving")
        assert {pod["spec"].get("nodeName") for pod in pods} <= {None, "gpu-h100-0"}
    assert not has_reason("rollout.strategy")(after)
    assert (await kube.get("deployment", PREDICTOR))["spec"]["strategy"] == SURGES


async def test_without_a_spare_gpu_the_old_version_stops_first_and_that_is_not_a_failure(
    kube: Kube, slipway: Operator
) -> None:
    await kube.apply(own_runtime())
    await settled(kube, on("a100-80gb"), "Serving")
    logged = len(slipway.log.lines)
    async with kube.passing(
        "llmdeployment", NAME, has_reason("an old one is stopped first; requests are held meanwhile")
    ):
        await kube.patch("llmdeployment", NAME, NEW_VERSION)
    after = await until_settled(kube, state="Serving")
    assert after["status"]["replicas"] == {"desired": 1, "ready": 1, "warmingUp": 0}
    await kube.wait_for("deployment", PREDICTOR, lambda found: found["spec"]["strategy"] == SURGES)
    await kube.wait_for("llmdeployment", NAME, lambda found: not has_reason("rollout.strategy")(found))
    assert not [line for line in slipway.log.lines[logged:] if kube.namespace in line and " warning " in line]


@pytest.mark.slow
async def test_without_a_spare_gpu_several_replicas_are_replaced_one_at_a_time(kube: Kube) -> None:
    await kube.apply(own_runtime())
    await settled(kube, on("h100-80gb", replicas=2), "Serving")
    async with kube.passing(
        "llmdeployment", NAME, has_reason("an old one is stopped first; the others continue to serve")
    ):
        await kube.patch("llmdeployment", NAME, NEW_VERSION)
    after = await until_settled(kube, state="Serving")
    assert after["status"]["replicas"] == {"desired": 2, "ready": 2, "warmingUp": 0}


def has_reason(words: str) -> Any:
    return lambda obj: any(words in sentence for sentence in current_status(obj).get("plan", {}).get("why", []))
