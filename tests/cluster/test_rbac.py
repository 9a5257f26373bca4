"""Slipway as pods, with its own RBAC rights: they suffice for all that it does, and it uses each of them."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest
from slipway.objects.kinds import POD_MONITOR
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.volumes import STORAGE_CLASS
from support.builders import objects
from support.builders.llmdeployments import acceleratorprofile, at_zero, gemma
from support.charts.helm import rendered
from support.cluster import Kube, KubectlError, Object, Predicate, audit, own_namespace
from support.cluster.audit import Request, Right
from support.cluster.client_pods import NOT_ANSWERED, request_from_pod
from support.cluster.releases import KEEPS_NO_OLD_RUNTIME, with_values
from support.faults import components
from support.repository import RUNTIMES, documents

OPERATOR, ACTIVATOR = "slipway-operator", "slipway-activator"
LEFT = {
    "service": "gemma",
    "networkpolicy": "gemma",
    "endpointslice": "gemma-activator",
    "inferenceservice": "gemma",
}
FINALIZERS = Right("update", "slipway.dev", "llmdeployments/finalizers")
"""No request is logged for it: the API server checks this right when a child names its owner."""

KEYS = Right("get", "", "secrets")
"""The owner of a Secret grants this right, as other tests do (manifests/samples/keys-at-zero.yaml)."""


@pytest.fixture(scope="module")
def started_at() -> str:
    """Earlier requests don't count: other tests uninstall Slipway, and its last requests without rights are refused."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@pytest.fixture(scope="module")
def operator_requests(
    operator_pods: Cluster, started_at: str, tmp_path_factory: pytest.TempPathFactory
) -> list[Request]:
    """The operator's requests to the API server while it did everything that it can do."""
    cache_folder = tmp_path_factory.getbasetemp() / "kubectl"
    asyncio.run(everything(operator_pods, Kube(operator_pods.kubectl, operator_pods.kubeconfig, cache_folder)))
    return audit.requests(operator_pods.layout.audit_log, OPERATOR)


def roles(program: str) -> list[Object]:
    kinds = ("Role", "ClusterRole")
    return [each for each in rendered("slipway") if each["kind"] in kinds and each["metadata"]["name"] == program]


async def everything(cluster: Cluster, cluster_kube: Kube) -> None:
    await cluster_kube.apply(objects.definition(POD_MONITOR))
    home = cluster_kube.within("slipway-system")
    await force_an_election(home)
    await make_it_count_devices(cluster_kube)
    await make_it_tidy_up(cluster, home)
    async with own_namespace(cluster_kube) as kube:
        await make_it_claim(kube)
        await create(kube)
        await request_from_a_pod(kube)
        await replace(cluster, kube)
        await make_it_repair(kube)
        await make_it_scale(kube)
        await make_it_delete(kube)
        await kube.delete(
            "llmdeployment", "gemma", wait=True
        )  # otherwise it would recreate what is deleted with the namespace


async def force_an_election(home: Kube) -> None:
    """The Lease may have been created by an earlier operator in this cluster, with other rights."""
    before = await home.get("lease", OPERATOR)
    await home.delete("lease", OPERATOR, wait=True)
    await home.wait_for("lease", OPERATOR, has_another_uid(uid(before)))


async def make_it_count_devices(kube: Kube) -> None:
    """It reads what drivers offer for claims if a profile has a DeviceClass, and writes the status of profiles."""
    profile = acceleratorprofile("claimed", {"resource": None, "deviceClass": "gpu.example.com"})
    try:
        await kube.apply(profile)
        await kube.wait_for("acceleratorprofile", "claimed", lambda it: "nodes" in it.get("status", {}), timeout=150)
    finally:
        await kube.delete("acceleratorprofile", "claimed")


async def make_it_claim(kube: Kube) -> None:
    """Pods claim devices by a template, which is replaced when they need another number of devices."""
    terms = {"resource": None, "deviceClass": "gpu.example.com", "devicesPerNode": 8, "growable": True}
    spec: Object = {"engine": {"name": "vllm"}, "accelerator": {"profiles": ["claimed"]}}
    try:
        await kube.apply(acceleratorprofile("claimed", terms), at_zero("claiming", **spec))
        first = await kube.wait_for_any("resourceclaimtemplate", "slipway.dev/llmdeployment=claiming", lambda _: True)
        await kube.patch("llmdeployment", "claiming", {"spec": {"engine": {"parallelism": {"tensor": 2}}}})
        await kube.wait_gone("resourceclaimtemplate", first["metadata"]["name"])
        await make_it_keep_compiled_code(kube)
        await kube.delete("llmdeployment", "claiming", wait=True)
    finally:
        await kube.delete("acceleratorprofile", "claimed")


async def make_it_keep_compiled_code(kube: Kube) -> None:
    """On a volume; then in an image, for which it tries whether pods can mount one, and removes the claim."""
    volume = {"kind": "PVC", "storageClassName": STORAGE_CLASS, "accessMode": "ReadWriteOncePod"}
    image = dict.fromkeys(volume) | {"kind": "Image", "image": f"example.com/compiled@sha256:{'0' * 64}"}
    await kube.patch("llmdeployment", "claiming", {"spec": {"engine": {"compileCache": volume}}})
    await kube.wait_for("persistentvolumeclaim", "claiming-compiled", lambda _: True)
    await kube.patch("llmdeployment", "claiming", {"spec": {"engine": {"compileCache": image}}})
    await kube.wait_gone("persistentvolumeclaim", "claiming-compiled")


async def make_it_tidy_up(cluster: Cluster, home: Kube) -> None:
    """There is a runtime of an older release, which no InferenceService uses."""
    [runtime, *_] = documents(RUNTIMES)
    labels = {"slipway.dev/runtime": "slipway-llamacpp"}
    await home.apply({**runtime, "metadata": {"name": "slipway-llamacpp-0.0.1-0a1b2c3d", "labels": labels}})
    async with with_values(cluster, home, *KEEPS_NO_OLD_RUNTIME):
        await home.wait_gone("clusterservingruntime", "slipway-llamacpp-0.0.1-0a1b2c3d")


NAMES: Object = {
    "pod": {
        "env": [{"name": "APP_A", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "a"}}}],
        "serviceAccountName": "builder",
        "priorityClassName": "missing",
        "runtimeClassName": "missing",
    },
    "access": {"apiKeysSecret": "keys", "allowFrom": [{"namespaceSelector": {}}]},
}
"""Objects that the operator looks up; the classes don't exist. (Without the ConfigMap, KEDA would refuse to scale.)"""


def model() -> Object:
    return gemma(min_replicas=0, **NAMES)


def names_what_is_missing(obj: Object) -> bool:
    return "PriorityClass missing, which doesn't exist" in obj.get("status", {}).get("message", "")


async def create(kube: Kube) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "builder"}}
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "b"}}
    claimed = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "gemma"}, "spec": claimed}
    await kube.apply(account, settings, claim, model())
    await kube.wait_for("llmdeployment", "gemma", names_what_is_missing)
    await kube.wait_for("podmonitor", "gemma", lambda _: True)


async def request_from_a_pod(kube: Kube) -> None:
    """A pod that its namespace's labels allow sends a request; `/health` needs no key, and fails here."""
    answer = NOT_ANSWERED, ""
    async with asyncio.timeout(60):
        while answer[0] not in (200, 503) or answer[1] == "caller_unknown":
            await asyncio.sleep(0.5)
            answer = await request_from_pod(kube, f"http://gemma.{kube.namespace}.svc", "GET /health")


async def replace(cluster: Cluster, kube: Kube) -> None:
    """The garbage collector is stopped, so the operator has to delete the children itself."""
    before = {kind: uid(await kube.get(kind, name)) for kind, name in LEFT.items()}
    async with components.without(cluster, "kube-controller-manager"):
        await kube.delete("llmdeployment", "gemma", wait=True)
        await kube.apply(model())
        for kind, name in LEFT.items():
            await kube.wait_for(kind, name, has_another_uid(before[kind]))
    await kube.wait_for("llmdeployment", "gemma", names_what_is_missing)


def has_another_uid(before: str) -> Predicate:
    return lambda obj: uid(obj) != before


async def make_it_repair(kube: Kube) -> None:
    before = await kube.get("service", "gemma")
    await kube.delete("service", "gemma")
    await kube.wait_for("service", "gemma", has_another_uid(uid(before)))


async def make_it_scale(kube: Kube) -> None:
    """The operator scales the model itself, which it does where no autoscaler does."""
    await kube.wait_for_condition("scaledobject", "gemma", "Ready")
    await kube.patch("llmdeployment", "gemma", {"spec": {"scaling": {"autoscaler": "None", "minReplicas": 1}}})
    await kube.wait_gone("scaledobject", "gemma")
    await kube.wait_for("deployment", "gemma-predictor", lambda it: it["spec"]["replicas"] == 1)
    await kube.patch("llmdeployment", "gemma", {"spec": {"scaling": {"autoscaler": "HPA", "maxReplicas": 2}}})
    await kube.wait_for("horizontalpodautoscaler", "gemma", lambda _: True)


async def make_it_delete(kube: Kube) -> None:
    unwanted = {"observability": {"monitor": False}, "scaling": {"autoscaler": "None"}}
    await kube.patch("llmdeployment", "gemma", {"spec": unwanted})
    await kube.wait_gone("podmonitor", "gemma")
    await kube.wait_gone("horizontalpodautoscaler", "gemma")


def uid(obj: Object) -> str:
    return str(obj["metadata"]["uid"])


def test_no_request_of_the_operator_is_refused(operator_requests: list[Request], started_at: str) -> None:
    assert [request for request in operator_requests if request.was_refused and request.at > started_at] == []


def test_the_operator_uses_every_right_that_it_has(operator_requests: list[Request]) -> None:
    assert audit.used(operator_requests) == audit.granted(roles(OPERATOR)) - {FINALIZERS}


def test_the_activator_uses_every_right_that_it_has_and_needs_no_other(
    operator_requests: list[Request], operator_pods: Cluster, started_at: str
) -> None:
    seen = audit.requests(operator_pods.layout.audit_log, ACTIVATOR)
    assert [request for request in seen if request.was_refused and request.at > started_at] == []
    assert audit.used(seen) - {KEYS} == audit.granted(roles(ACTIVATOR))


async def test_owning_children_needs_a_right_on_the_finalizers_of_their_owner(
    operator_pods: Cluster, neighbour_kube: Kube
) -> None:
    account = await account_without_that_right(neighbour_kube)
    child = objects.service("child", selector={"app": "child"})
    await try_to_create(neighbour_kube, child, account)
    owner = {"apiVersion": "slipway.dev/v1alpha1", "kind": "LLMDeployment", "name": "owner", "uid": "1"}
    child["metadata"]["ownerReferences"] = [{**owner, "blockOwnerDeletion": True}]
    with pytest.raises(KubectlError, match="cannot set blockOwnerDeletion"):
        await try_to_create(neighbour_kube, child, account)


async def account_without_that_right(kube: Kube) -> str:
    """An account that may change all common kinds, but has no rights on Slipway's."""
    subject = f"--serviceaccount={kube.namespace}:default"
    await kube.run("create", "rolebinding", "edit", "--clusterrole=edit", subject)
    return f"system:serviceaccount:{kube.namespace}:default"


async def try_to_create(kube: Kube, obj: Object, account: str) -> None:
    await kube.run("create", f"--as={account}", "--dry-run=server", "--filename=-", stdin=json.dumps(obj))
