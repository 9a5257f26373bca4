"""Where a plan puts pods, on a real KServe and scheduler: sets of labels, claims of devices, the runtime's own pod."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from support.builders.llmdeployments import gemma
from support.builders.objects import manifest
from support.cluster import AnyCluster, Kube, Object, installation
from support.cluster.pods import is_running, why_unschedulable
from support.cluster.rendering import reconcile_once

OURS = "slipway.dev/llmdeployment=gemma"
PREDICTOR = "gemma-predictor"
H100 = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
ELSEWHERE = {"cloud.google.com/gke-accelerator": "nvidia-h100-80gb"}
ON_GPU = {"accelerator": {"profiles": ["h100-80gb"]}, "engine": {"name": "vllm"}}
DEVICE_CLASS = "slipway-test.example.com"


@pytest.fixture(scope="module", autouse=True)
def types_and_runtimes(cluster: AnyCluster, llamacpp_image: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The CRDs and the runtimes, as Slipway's chart would install them."""
    cluster.devcluster()  # only clusters that the tests create are guaranteed to have such nodes
    kube = Kube(cluster.kubectl, cluster.kubeconfig, cache_folder=tmp_path_factory.getbasetemp() / "kubectl")
    asyncio.run(installation.install(kube, llamacpp_image))


@pytest.fixture
async def device_class(kube: Kube) -> AsyncIterator[str]:
    """A DeviceClass of which no driver has a device."""
    await kube.apply(manifest("resource.k8s.io/v1", "DeviceClass", DEVICE_CLASS, spec={}))
    yield DEVICE_CLASS
    await kube.delete("deviceclass", DEVICE_CLASS)


async def pod_template(kube: Kube) -> Object:
    deployment = await kube.wait_for("deployment", PREDICTOR, lambda _: True)
    found: Object = deployment["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize("terms", [(H100,), (ELSEWHERE, H100)], ids=["one set", "one of several sets"])
async def test_a_pod_runs_on_a_node_that_has_all_labels_of_one_set(
    kube: Kube, gemma_volume: None, terms: tuple[dict[str, str], ...]
) -> None:
    await kube.apply(gemma(min_replicas=1, pod={}, **ON_GPU))
    await reconcile_once(kube, "gemma", node_terms=terms)
    pod = await kube.wait_for_any("pods", OURS, is_running)
    assert pod["spec"]["nodeName"] == "gpu-h100-0"


async def test_without_a_node_of_any_set_the_pod_waits(kube: Kube, gemma_volume: None) -> None:
    await kube.apply(gemma(min_replicas=1, pod={}, **ON_GPU))
    await reconcile_once(kube, "gemma", node_terms=(ELSEWHERE, {**H100, "zone": "nowhere"}))
    pod = await kube.wait_for_any("pods", OURS, lambda found: bool(why_unschedulable(found)))
    assert "didn't match Pod's node affinity/selector" in why_unschedulable(pod)


async def test_kserve_merges_a_longer_start_and_more_shared_memory_into_the_runtimes_pod(
    kube: Kube, gemma_volume: None
) -> None:
    await kube.apply(gemma(min_replicas=0))
    await reconcile_once(kube, "gemma", start_limit=5400.0, shared_memory=256 << 20)
    pod = await pod_template(kube)
    [container] = [each for each in pod["containers"] if each["name"] == "kserve-container"]
    assert container["startupProbe"]["httpGet"]["path"] == "/startupz"
    assert (container["startupProbe"]["periodSeconds"], container["startupProbe"]["failureThreshold"]) == (1, 5460)
    assert "--start-timeout=5400" in container["args"]
    [volume] = [each for each in pod["volumes"] if each["name"] == "slipway-shm"]
    assert volume["emptyDir"] == {"medium": "Memory", "sizeLimit": "256Mi"}
    assert [each["mountPath"] for each in container["volumeMounts"] if each["name"] == "slipway-shm"] == [
        "/dev/shm"  # noqa: S108 - a path in the container
    ]


async def test_a_pod_gets_a_claim_of_its_own_by_the_template(kube: Kube, gemma_volume: None, device_class: str) -> None:
    await kube.apply(gemma(min_replicas=1))
    await reconcile_once(kube, "gemma", device_class=device_class, gpus_per_replica=2)
    pod = await kube.wait_for_any("pods", OURS, lambda found: bool(why_unschedulable(found)))
    assert "cannot allocate all claims" in why_unschedulable(pod)
    [container] = [each for each in pod["spec"]["containers"] if each["name"] == "kserve-container"]
    assert container["resources"]["claims"] == [{"name": "accelerators"}]
    claim = await kube.wait_for_any("resourceclaims", OURS, lambda _: True)
    [request] = claim["spec"]["devices"]["requests"]
    assert (request["exactly"]["deviceClassName"], request["exactly"]["count"]) == (device_class, 2)
    assert claim["metadata"]["ownerReferences"][0]["name"] == pod["metadata"]["name"]
