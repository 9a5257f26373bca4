"""Nodes, NodePools and device classes for tests, as small as possible."""

from __future__ import annotations

from typing import Any

from slipway_devcluster import gpu_nodes

from support.builders.objects import Object, manifest

READY: Object = {"type": "Ready", "status": "True"}


def node(name: str = "node", labels: dict[str, str] | None = None, *, ready: bool = True, **offered: Any) -> Object:
    """A Ready node with these labels, which offers 8 CPUs, 32 GiB and what `offered` says: `gpu=4` are NVIDIA's."""
    resources = {"cpu": "8", "memory": "32Gi", **{_resource(key): str(value) for key, value in offered.items()}}
    return manifest(
        "v1",
        "Node",
        name,
        metadata={"labels": labels or {}},
        spec={},
        status={"allocatable": resources, "conditions": [READY if ready else READY | {"status": "Unknown"}]},
    )


def look_alike(models: str) -> list[Object]:
    """The nodes that a devcluster would simulate for a string such as `h100:2,3xl4:4`, and Ready as kwok makes them."""
    made = gpu_nodes.gpu_nodes(models)
    for each in made:
        each["status"]["conditions"] = [READY]
    return made


def tainted(one: Object, key: str, value: str = "", effect: str = "NoSchedule") -> Object:
    taint = {"key": key, "value": value, "effect": effect}
    return {**one, "spec": {**one["spec"], "taints": [*one["spec"].get("taints", []), taint]}}


def labelled(one: Object, **labels: str) -> Object:
    metadata = one["metadata"]
    return {**one, "metadata": {**metadata, "labels": {**metadata["labels"], **labels}}}


def node_pool(name: str = "pool", *requirements: Object, labels: Object | None = None, **spec: Any) -> Object:
    """A NodePool of Karpenter; `spec` are further fields of its spec, and `taints` those of its nodes."""
    of_nodes = {"requirements": list(requirements), "taints": spec.pop("taints", [])}
    status = {"resources": spec.pop("resources", {}), "conditions": spec.pop("conditions", [])}
    template = {"metadata": {"labels": labels or {}}, "spec": of_nodes}
    return manifest("karpenter.sh/v1", "NodePool", name, spec={"template": template, **spec}, status=status)


def requires(key: str, *values: str, operator: str = "In") -> Object:
    return {"key": key, "operator": operator, "values": list(values)}


def _resource(key: str) -> str:
    return {"gpu": "nvidia.com/gpu", "amd": "amd.com/gpu"}.get(key, key)
