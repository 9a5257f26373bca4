"""KServe's webhooks are called, and refuse invalid objects with KServe's own messages."""

import pytest
from support.builders import objects
from support.cluster import Kube, KubectlError


async def test_an_inference_service_with_a_bad_name_is_refused(kube: Kube) -> None:
    with pytest.raises(KubectlError, match="must consist of lower case alphanumeric characters"):
        await kube.apply(objects.inference_service("1gemma"))


async def test_an_inference_service_with_min_replicas_above_max_replicas_is_refused(kube: Kube) -> None:
    with pytest.raises(KubectlError, match="'MinReplicas' cannot be greater than MaxReplicas"):
        await kube.apply(objects.inference_service("gemma", minReplicas=3, maxReplicas=2))


async def test_a_runtime_that_sets_pythonpath_is_refused(kube: Kube) -> None:
    runtime = objects.llamacpp_runtime("any")
    runtime["spec"]["containers"][0]["env"] = [{"name": "PYTHONPATH", "value": "/tmp"}]  # noqa: S108
    with pytest.raises(KubectlError, match="PYTHONPATH"):
        await kube.apply(runtime)


async def test_the_former_name_of_a_deployment_mode_is_replaced_by_the_current_one(kube: Kube) -> None:
    service = objects.inference_service("gemma", autoscaler_class="none", minReplicas=0)
    service["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] = "RawDeployment"
    await kube.apply(service)
    stored = await kube.get("inferenceservice", "gemma")
    assert stored["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == "Standard"
