"""Simulated nodes of many kinds for one test, and the profiles of them. kwok marks pods on such nodes as running."""

from __future__ import annotations

from typing import Any

from slipway_devcluster import gpu_nodes

from support.builders import objects
from support.builders.llmdeployments import acceleratorprofile
from support.builders.objects import Object
from support.cluster.kube import Kube, Predicate
from support.cluster.pods import is_running

KINDS: dict[str, Object] = {
    "t4": {"memory": "15360Mi", "costPerHour": 0.3, "features": ["int8"], "computeCapability": "7.5"},
    "l4": {"memory": "23034Mi", "costPerHour": 0.7, "features": ["bf16", "fp8"]},
    "h100": {"memory": "81559Mi", "costPerHour": 7, "features": ["bf16", "fp8"]},
    "a100-mig-3g.40gb": {
        "memory": "40192Mi",
        "costPerHour": 2,
        "features": ["bf16"],
        "resource": {"name": "nvidia.com/mig-3g.40gb"},
    },
    "mi300x": {"vendor": "AMD", "memory": "192Gi", "costPerHour": 6, "resource": {"name": "amd.com/gpu"}},
    "gaudi3": {"vendor": "Intel", "memory": "128Gi", "costPerHour": 7.5, "resource": {"name": "habana.ai/gaudi"}},
}
TPU = {"vendor": "Google", "memory": "16Gi", "costPerHour": 1.2, "resource": {"name": "google.com/tpu"}}


class Mixed:
    """Nodes and profiles for one test. A profile is named after its kind and the namespace."""

    def __init__(self, kube: Kube) -> None:
        self.kube = kube
        self._made: list[tuple[str, str]] = []

    def name(self, kind: str) -> str:
        return f"{kind}-{self.kube.namespace}"

    async def profile(self, kind: str, **spec: Any) -> None:
        resource = {"name": "nvidia.com/gpu"}
        taint = gpu_nodes.MODELS[kind].taint if kind in gpu_nodes.MODELS else "google.com/tpu"
        described = {"resource": resource, "devicesPerNode": 8, **KINDS.get(kind, TPU), **spec}
        labels = {"nodeLabels": self._labels(kind), "tolerations": [{"key": taint, "operator": "Exists"}]}
        await self.apply(acceleratorprofile(self.name(kind), {**labels, **described}))

    async def node(self, name: str, kind: str, devices: int, *, taint: str = "", **labels: str) -> str:
        """Like a node of gpu_nodes, with labels of the test alone."""
        made = gpu_nodes.node(f"{name}-{self.kube.namespace}", _machine(kind), devices)
        made["metadata"]["labels"] = {"type": "kwok", **self._labels(kind), **labels}
        if kind not in gpu_nodes.MODELS:
            _without_devices(made)
            _with_tpus(made, devices)
        return await self._add(made, taint)

    async def _add(self, node: Object, taint: str) -> str:
        if taint:
            node["spec"]["taints"].append({"key": taint, "value": "yes", "effect": "NoSchedule"})
        await self.apply(node)
        name = str(node["metadata"]["name"])
        await self.kube.wait_for_condition("node", name, "Ready")
        return name

    def _labels(self, kind: str) -> dict[str, str]:
        return {"of": self.kube.namespace, "kind": kind}

    async def fill(self, node: str, kind: str, devices: int, name: str = "other") -> None:
        """Another program takes them."""
        model = gpu_nodes.MODELS[kind]
        pod = objects.pod(
            name,
            objects.PAUSE,
            [],
            container={"resources": {"limits": {model.resource: str(devices)}}},
            tolerations=[{"operator": "Exists"}],
            nodeName=node,
        )
        await self.kube.apply(pod)
        await self.kube.wait_for("pod", name, is_running)

    async def look_alike(self, kind: str, devices: int, *, name: str = "", taint: str = "", **labels: str) -> str:
        """With the labels that such machines have, by which the shipped profiles find them. The kind `cpu` has no
        devices, and is open to all pods."""
        made = gpu_nodes.node(f"{name or kind.replace('.', '-')}-{self.kube.namespace}", _machine(kind), devices)
        if kind in ("cpu", "tpu-v5e"):
            _without_devices(made)
        if kind == "tpu-v5e":
            made["metadata"]["labels"]["cloud.google.com/gke-tpu-accelerator"] = "tpu-v5-lite-podslice"
            _with_tpus(made, devices)
        made["metadata"]["labels"] |= labels
        return await self._add(made, taint)

    async def claimed(self, name: str, kind: str, devices: int, *, driver: str) -> str:
        """A node whose devices are not a resource: the driver publishes them, for claims."""
        made = gpu_nodes.node(f"{name}-{self.kube.namespace}", _machine(kind), devices)
        made["metadata"]["labels"] = {"type": "kwok", **self._labels(kind)}
        _without_devices(made)
        node = await self._add(made, "")
        spec = {
            "driver": driver,
            "nodeName": node,
            "pool": {"name": node, "generation": 1, "resourceSliceCount": 1},
            "devices": [{"name": f"gpu-{place}"} for place in range(devices)],
        }
        await self.apply(objects.manifest("resource.k8s.io/v1", "ResourceSlice", node, spec=spec))
        return node

    async def apply(self, made: Object) -> None:
        """An object that isn't in the namespace; it is deleted at the end."""
        await self.kube.apply(made)
        self._made.append((made["kind"].lower(), made["metadata"]["name"]))

    async def end(self) -> None:
        for kind, name in reversed(self._made):
            await self.kube.delete(kind, name)


def _machine(kind: str) -> gpu_nodes.Model:
    """Of a TPU or a CPU, any large one."""
    return gpu_nodes.MODELS.get(kind, gpu_nodes.MODELS["gaudi3"])


def _without_devices(node: Object) -> None:
    """Only the processors and the memory of the machine."""
    labels = {name: each for name, each in node["metadata"]["labels"].items() if "pci-" not in name}
    node["metadata"]["labels"] = labels
    node["spec"]["taints"] = []
    for part in ("capacity", "allocatable"):
        node["status"][part] = {name: each for name, each in node["status"][part].items() if "/" not in name}


def _with_tpus(node: Object, devices: int) -> None:
    node["spec"]["taints"] = [{"key": "google.com/tpu", "value": "present", "effect": "NoSchedule"}]
    for part in ("capacity", "allocatable"):
        node["status"][part]["google.com/tpu"] = str(devices)


def has(profile: str) -> Predicate:
    """An LLMDeployment that is planned on this profile."""
    return lambda it: bool(it.get("status", {}).get("plan", {}).get("accelerator") == profile)


def counts(**numbers: int) -> Predicate:
    """That the status of a profile has these numbers: nodes, or those of `devices`."""

    def holds(it: Object) -> bool:
        status = it.get("status", {})
        there = {"nodes": status.get("nodes"), **status.get("devices", {})}
        return all(there.get(name) == number for name, number in numbers.items())

    return holds
