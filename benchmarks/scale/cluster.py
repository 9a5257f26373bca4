"""The devcluster that the benchmark runs on: Slipway in it, look-alike nodes, KServe paused or not.

kube-proxy and the other things that would run on other machines in a cluster of such a size are stopped, as far as
nothing that is measured needs them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from own_cluster import own_cluster
from slipway.objects.kinds import Object
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.gpu_nodes import FAKE_ANNOTATION
from slipway_devcluster.paths import default_cache
from slipway_devcluster.platform import wait_until_served
from slipway_devcluster.progress import Steps
from slipway_devcluster.record import Options

ROOT = Path(__file__).parent.parent.parent
CRDS = ROOT / "crds"
PROFILES = ROOT / "charts/slipway/accelerators"
RUNTIMES = ROOT / "charts/slipway/runtimes"
NOBODY = "192.0.2.1"  # an address for documentation
NAMES = ("llmdeployments.slipway.dev", "acceleratorprofiles.slipway.dev")

OF_ACTIVATOR = {"slipway.dev/activator": "slipway-activator"}

SLIPWAY, MODELS = "slipway-system", "models"
ANY_GPU = "t4:1"  # one such node, because a cluster without any has no kwok
GPUS = "2xh100:8,2xl4:4"
PODS_PER_NODE = 110
KSERVE = ("-n", "kserve", "deployment/kserve-controller-manager")
WEBHOOKS = ("validatingwebhookconfigurations", "mutatingwebhookconfigurations")


@contextmanager
def prepared(name: str, *, pods: int, kserve: bool, planned: bool) -> Iterator[Cluster]:
    """A cluster of that name, made for the run and removed after it."""
    cache = default_cache()
    with own_cluster(name, cache, Steps(cache), Options(gpu_nodes=GPUS if planned else ANY_GPU)) as cluster:
        _install(cluster, planned=planned)
        if not kserve:
            _pause_kserve(cluster)
        if pods:
            _add_nodes(cluster, pods)
        cluster.stop("kube-proxy")
        yield cluster


def deployment(name: str, *, replicas: int, context_length: int) -> Object:
    """A small model on processors; where it has replicas, they "run" on the look-alikes alone."""
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "LLMDeployment",
        "metadata": {"name": name, "namespace": MODELS},
        "spec": {
            "model": {"uri": "hf://slipway/benchmark", "revision": "0e9e39f249a1"},
            "engine": {"name": "llamacpp", "contextLength": context_length, "maxConcurrency": 4},
            "scaling": {"minReplicas": replicas, "maxReplicas": max(replicas, 2), "idleAfter": "5m"},
            "pod": {
                "nodeSelector": {"type": "kwok"},
                "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "2Gi"}},
            },
        },
    }


def planned_deployment(name: str, *, context_length: int) -> Object:
    """A model of the catalogue, without replicas, that may run on any accelerator."""
    thing = deployment(name, replicas=0, context_length=context_length)
    return {
        **thing,
        "spec": {
            "model": {"uri": "hf://meta-llama/Llama-3.1-8B", "revision": "0e9e39f249a1"},
            "engine": {"name": "vllm", "contextLength": context_length},
            "scaling": thing["spec"]["scaling"],
        },
    }


def _install(cluster: Cluster, *, planned: bool) -> None:
    apply = ["apply", "--server-side", "--validate=false", "--filename"]
    cluster.run_kubectl([*apply, str(CRDS)])
    wait_until_served(list(NAMES), cluster.run_kubectl)
    profiles = sorted(PROFILES.glob("*.yaml")) if planned else [PROFILES / "cpu.yaml"]
    runtimes = [RUNTIMES / f"slipway-{name}.yaml" for name in ("llamacpp", *(("vllm-cuda",) if planned else ()))]
    for file in (*profiles, *runtimes):
        cluster.run_kubectl([*apply, str(file)])
    for namespace in (SLIPWAY, MODELS):
        cluster.run_kubectl(["create", "namespace", namespace])
    for thing in (_activators_service(), _activators_replica()):
        cluster.run_kubectl([*apply, "-"], json.dumps(thing).encode())


def _activators_service() -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "slipway-activator", "namespace": SLIPWAY, "labels": OF_ACTIVATOR},
        "spec": {"clusterIP": "None", "ports": [{"name": "scaler", "port": 9090, "protocol": "TCP"}]},
    }


def _activators_replica() -> Object:
    """Make the operator believe that an activator is there: it then maintains the table of ports, and routes to it."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "slipway-activator-benchmark",
            "namespace": SLIPWAY,
            "labels": OF_ACTIVATOR | {"kubernetes.io/service-name": "slipway-activator"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "scaler", "port": 9090, "protocol": "TCP"}],
        "endpoints": [{"addresses": [NOBODY], "conditions": {"ready": True}}],
    }


def _pause_kserve(cluster: Cluster) -> None:
    """Remove KServe's controller and webhooks; its CRDs stay, but nothing acts on their objects."""
    cluster.run_kubectl(["scale", "--replicas=0", *KSERVE])
    cluster.run_kubectl(["rollout", "status", "--timeout=60s", *KSERVE])
    for kind in WEBHOOKS:
        names = cluster.run_kubectl(["get", kind, "--output=name"]).split()
        if of_kserve := [name for name in names if "serving.kserve.io" in name]:
            cluster.run_kubectl(["delete", *of_kserve])


def _add_nodes(cluster: Cluster, pods: int) -> None:
    nodes = [_node(f"cpu-{number}") for number in range(math.ceil(pods / PODS_PER_NODE) + 1)]
    listed = {"apiVersion": "v1", "kind": "List", "items": nodes}
    cluster.run_kubectl(["apply", "--server-side", "-f", "-"], json.dumps(listed).encode())


def _node(name: str) -> Object:
    capacity = {"cpu": "128", "memory": "1024Gi", "ephemeral-storage": "8Ti", "pods": str(PODS_PER_NODE)}
    labels = {
        "type": "kwok",
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "annotations": {FAKE_ANNOTATION: "fake"}, "labels": labels},
        "status": {"capacity": capacity, "allocatable": capacity},
    }
