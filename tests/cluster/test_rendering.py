"""Rendered objects on a real KServe: they are accepted, they serve, they stay unchanged, and start no extra pod."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.builders import llmdeployments
from support.builders.llmdeployments import gemma
from support.cluster import AnyCluster, Kube, Object, ServiceAccess, installation, is_ready, rendering
from support.cluster.llmdeployments import is_for_others_to_scale
from support.cluster.pods import is_running
from support.cluster.rendering import reconcile_once, strictly_applied
from support.cluster.services import reachable
from support.load.completions import complete
from support.repository import ACCELERATORS, documents

PREDICTOR = "gemma-predictor"
OURS = "slipway.dev/llmdeployment=gemma"


@pytest.fixture(scope="module", autouse=True)
def types_and_runtimes(cluster: AnyCluster, llamacpp_image: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The CRDs and the runtimes, as Slipway's chart would install them."""
    kube = Kube(cluster.kubectl, cluster.kubeconfig, cache_folder=tmp_path_factory.getbasetemp() / "kubectl")
    asyncio.run(installation.install(kube, llamacpp_image))


async def create(kube: Kube, wanted: Object) -> str:
    await kube.apply(wanted)
    return str(wanted["metadata"]["name"])


def template(deployment: Object) -> Object:
    pods: Object = deployment["spec"]["template"]
    return pods


async def test_gemma_is_served_under_the_name_of_the_deployment(
    kube: Kube, gemma_volume: None, access: ServiceAccess
) -> None:
    name = await create(kube, gemma(min_replicas=1))
    await reconcile_once(kube, name)
    await kube.wait_for_any("pods", OURS, is_ready, timeout=120)
    url = await reachable(access, "gemma")
    async with access.session() as session:
        completion = await complete(session, url, "Kubernetes is")
    assert completion.text


async def test_the_secret_of_the_model_reaches_its_download(kube: Kube) -> None:
    """KServe reads its name from an annotation, which its chart and its manifests name differently."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hub"}, "stringData": {"HF_TOKEN": "a"}}
    await kube.apply(secret)
    wanted = gemma(min_replicas=1)
    wanted["spec"]["model"] |= {"uri": "hf://slipway/gemma", "credentialsSecret": "hub"}
    await reconcile_once(kube, await create(kube, wanted))
    pod = await kube.wait_for_any("pods", OURS, lambda found: bool(found["spec"].get("initContainers")), timeout=60)
    [download] = (each for each in pod["spec"]["initContainers"] if each["name"] == "storage-initializer")
    named = {each["name"]: each["valueFrom"]["secretKeyRef"]["name"] for each in download["env"] if "valueFrom" in each}
    assert named == {"HF_TOKEN": "hub"}


async def test_at_zero_no_pod_ever_starts_and_replicas_are_left_to_others(kube: Kube, gemma_volume: None) -> None:
    name = await create(kube, gemma(min_replicas=0))
    async with kube.recording("pods") as pods:
        assert (await reconcile_once(kube, name)).replicas is None
        await kube.wait_for("deployment", PREDICTOR, lambda found: found["spec"]["replicas"] == 0)
        assert (await reconcile_once(kube, name)).replicas is None, "KServe has yet to see that others scale it"
        await kube.wait_for("deployment", PREDICTOR, is_for_others_to_scale)
        assert (await reconcile_once(kube, name)).replicas is not None
        await kube.never("pods", seconds=3)
    assert pods == []
    await kube.scale("deployment", PREDICTOR, 1)
    await kube.wait_for_any("pods", OURS, is_ready, timeout=120)


async def test_a_deployment_starts_with_its_minimum_of_replicas(kube: Kube, gemma_volume: None) -> None:
    name = await create(kube, gemma(min_replicas=2, scaling={"minReplicas": 2, "maxReplicas": 2}))
    await reconcile_once(kube, name)
    await kube.wait_for("deployment", PREDICTOR, lambda found: found["spec"]["replicas"] == 2)


async def test_applying_the_rendered_objects_again_changes_nothing(kube: Kube, gemma_volume: None) -> None:
    name = await create(kube, gemma(min_replicas=1))
    await reconcile_once(kube, name)
    await kube.wait_for_condition("inferenceservice", name, "Ready", timeout=120)
    before = await versions(kube, name)
    await reconcile_once(kube, name)
    assert await versions(kube, name) == before


async def versions(kube: Kube, name: str) -> list[tuple[str, str]]:
    found = [await kube.get(kind, name) for kind in ("service", "networkpolicy", "inferenceservice")]
    found += await kube.select("pods", OURS)
    return [(obj["kind"], obj["metadata"].get("generation") or obj["metadata"]["resourceVersion"]) for obj in found]


async def test_labels_and_annotations_that_others_add_to_the_deployment_change_nothing(
    kube: Kube, gemma_volume: None
) -> None:
    name = await create(kube, gemma(min_replicas=0))
    before = await rendering.rendered(kube, name)
    metadata = {"labels": {"team": "blue"}, "annotations": {"argocd.argoproj.io/tracking-id": "x"}}
    await kube.patch("llmdeployment", name, {"metadata": metadata})
    assert await rendering.rendered(kube, name) == before


async def test_a_change_that_does_not_affect_the_pods_leaves_their_template_unchanged(
    kube: Kube, gemma_volume: None
) -> None:
    name = await create(kube, gemma(min_replicas=1))
    await reconcile_once(kube, name)
    before = await kube.wait_for("deployment", PREDICTOR, lambda found: "status" in found)
    change = {"scaling": {"maxReplicas": 3}, "rollout": {"strategy": "Recreate"}, "access": {"allowFrom": []}}
    await kube.patch("llmdeployment", name, {"spec": change})
    await reconcile_once(kube, name)
    after = await kube.wait_for("deployment", PREDICTOR, lambda found: found["spec"]["strategy"]["type"] == "Recreate")
    assert template(after) == template(before)


async def test_deleting_the_deployment_removes_all_its_children(kube: Kube, gemma_volume: None) -> None:
    name = await create(kube, gemma(min_replicas=0))
    applied = [child.manifest for child in (await reconcile_once(kube, name)).apply]
    await kube.delete("llmdeployment", name)
    for obj in applied:
        await kube.wait_gone(obj["kind"].lower(), name)
    await kube.wait_gone("deployment", PREDICTOR)


H100 = {"accelerator": {"profiles": ["h100-80gb"]}, "engine": {"name": "vllm", "parallelism": {"tensor": 2}}}


async def test_a_model_for_two_gpus_lands_on_a_node_that_has_them(
    cluster: AnyCluster, kube: Kube, gemma_volume: None
) -> None:
    cluster.devcluster()  # only clusters that the tests create are guaranteed to have such nodes
    name = await create(kube, gemma(min_replicas=1, pod={}, **H100))
    await reconcile_once(kube, name)
    pod = await kube.wait_for_any("pods", OURS, is_running)
    container = pod["spec"]["containers"][0]
    assert pod["spec"]["nodeName"] == "gpu-h100-0"
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "2"}
    assert container["args"][:4] == ["serve", "vllm", "--model=/mnt/models", "--port=8080"]
    assert container["args"].index("--served-name=gemma") < container["args"].index("--")
    assert "--tensor-parallel-size=2" in container["args"]


async def test_an_adapter_is_mounted_where_the_engine_arguments_say(kube: Kube, gemma_volume: None) -> None:
    engine = {"name": "vllm", "adapters": [{"name": "sql", "uri": "pvc://gemma/adapters/sql"}]}
    name = await create(kube, gemma(min_replicas=0, engine=engine, accelerator={"profiles": ["h100-80gb"]}))
    await reconcile_once(kube, name)
    found = await kube.wait_for("deployment", PREDICTOR, lambda _: True)
    container = template(found)["spec"]["containers"][0]
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {"/mnt/models", "/mnt/adapters/sql"} <= mounted
    assert "sql=/mnt/adapters/sql" in container["args"]


async def test_the_runtime_keeps_its_probes_and_messages_in_the_pod(kube: Kube, gemma_volume: None) -> None:
    name = await create(kube, gemma(min_replicas=0))
    await reconcile_once(kube, name)
    found = await kube.wait_for("deployment", PREDICTOR, lambda _: True)
    pod, container = template(found)["spec"], template(found)["spec"]["containers"][0]
    assert container["startupProbe"]["failureThreshold"] == 1800
    assert container["startupProbe"]["httpGet"]["port"] == "management"
    assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert container["resources"]["limits"] == {"memory": "2Gi"}
    assert pod["terminationGracePeriodSeconds"] == 135
    assert {"name": "slipway-shm", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}} in pod["volumes"]


EVERYTHING: list[dict[str, Any]] = [
    {"model": {"uri": "hf://org/model", "revision": "main", "credentialsSecret": "hf"}, **H100},
    {"model": {"uri": "az://account/container/path"}, "accelerator": {"profiles": ["mi300x"]}},
    {"model": {"uri": "oci://registry.example/model:1", "credentialsSecret": "pull"}, "engine": {"name": "llamacpp"}},
    {
        "model": {"uri": "s3://bucket/model"},
        "engine": {
            "mode": "Throughput",
            "quantization": "FP8",
            "kvCacheDtype": "FP8",
            "speculative": {"method": "draft", "tokens": 4, "model": "s3://bucket/draft"},
            "adapters": [{"name": "a/b", "uri": "s3://bucket/adapter"}],
            "extraArgs": ["--max-lora-rank=64"],
        },
        "accelerator": {"profiles": ["l4"]},
        "scaling": {"minReplicas": 1, "maxReplicas": 3},
        "access": {
            "allowFrom": [{"namespaceSelector": {}}, {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]
        },
        "observability": {"tracing": {"endpoint": "http://otel.monitoring:4318"}},
        "pod": {
            "labels": {"team": "blue"},
            "annotations": {"note": "x"},
            "serviceAccountName": "default",
            "queueName": "gpus",
            "tolerations": [{"key": "spot", "operator": "Exists"}],
            "nodeSelector": {"zone": "a"},
            "env": [
                {"name": "APP_A", "value": "1"},
                {"name": "APP_B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            ],
            "volumes": [{"name": "scratch", "emptyDir": {}}, {"name": "files", "configMap": {"name": "files"}}],
            "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}, {"name": "files", "mountPath": "/files"}],
            "imagePullSecrets": [{"name": "pull"}],
        },
    },
]


@pytest.mark.parametrize("spec", EVERYTHING, ids=["hf", "azure", "oci", "all-fields"])
async def test_the_api_server_and_kserve_accept_the_rendered_objects_with_strict_validation(
    kube: Kube, spec: dict[str, Any]
) -> None:
    name = await create(kube, llmdeployments.llmdeployment("model", spec))
    desired = await rendering.rendered(kube, name)
    await strictly_applied(kube, *(child.manifest for child in desired.apply), dry_run=True)


async def test_the_api_server_accepts_the_profiles_that_come_with_slipway(kube: Kube) -> None:
    await strictly_applied(kube, *documents(ACCELERATORS), dry_run=True)
