"""An InferenceService can be created without starting a pod, and then be scaled by others."""

import pytest
from support.builders import objects
from support.builders.llmdeployments import CLASS
from support.cluster import Kube, is_ready
from support.cluster.llmdeployments import is_for_others_to_scale

PREDICTOR = "gemma-predictor"


@pytest.mark.slow
async def test_no_pod_starts_until_the_deployment_is_scaled(
    kube: Kube, gemma_volume: None, llamacpp_image: str
) -> None:
    async with kube.recording("pods") as pods:
        at_zero = objects.inference_service("gemma", autoscaler_class="none", minReplicas=0)
        await kube.apply(objects.llamacpp_runtime(llamacpp_image), at_zero)
        created = await kube.wait_for("deployment", PREDICTOR, lambda _: True)
        assert created["spec"]["replicas"] == 0

        await kube.patch("inferenceservice", "gemma", {"metadata": {"annotations": {CLASS: "external"}}})
        await kube.wait_for("deployment", PREDICTOR, is_for_others_to_scale)
        await kube.never("pods", seconds=3)
    assert pods == []

    await kube.scale("deployment", PREDICTOR, 1)
    await kube.wait_for_any("pods", f"app=isvc.{PREDICTOR}", is_ready)
    assert (await kube.get("deployment", PREDICTOR))["spec"]["replicas"] == 1
