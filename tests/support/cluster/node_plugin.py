"""Slipway's node plugin on a devcluster, as the chart installs it, and pods that use it directly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway_devcluster.slipway import OPERATOR_IMAGE

from support.builders import objects
from support.builders.objects import Object
from support.charts.helm import rendered
from support.cluster.clusters import AnyCluster, Settings
from support.cluster.kube import Kube
from support.cluster.rendering import strictly_applied

NAME, DRIVER, NAMESPACE = "slipway-node-cache", "models.slipway.dev", "slipway-node"
FOLDER = "/var/lib/kubelet/slipway-models"
"""On the disk: /var of a devcluster's node is in memory."""
PODS = "app.kubernetes.io/name=slipway-node-cache"
KEY, OTHER_KEY, THIRD_KEY = "0123456789abcdef", "fedcba9876543210", "00112233aabbccdd"
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def manifests(**values: Any) -> list[Object]:
    """What the chart adds for the plugin, which counts each second."""
    node = {"enabled": True, "namespace": NAMESPACE, "folder": FOLDER, "minFreePercent": 0, **values}
    things = rendered("slipway", {"modelCache": {"node": node}, "images": {"tag": "dev"}})
    ours = [thing for thing in things if thing["metadata"]["name"] in (NAME, DRIVER)]
    [daemon_set] = [thing for thing in ours if thing["kind"] == "DaemonSet"]
    [container] = daemon_set["spec"]["template"]["spec"]["containers"]
    container["env"].append({"name": "SLIPWAY_SWEEP_EVERY", "value": "1s"})
    return ours


async def install(kube: Kube, cluster: AnyCluster, settings: Settings, **values: Any) -> Kube:
    """Returns the namespace of the plugin, once the kubelet knows it."""
    OPERATOR_IMAGE.loaded(cluster.devcluster(), settings.cache, settings.steps)
    await kube.apply(objects.namespace(NAMESPACE, labels={"pod-security.kubernetes.io/enforce": "privileged"}))
    plugin = kube.within(NAMESPACE)
    await has_values(plugin, **values)
    return plugin


async def has_values(plugin: Kube, **values: Any) -> None:
    """Installs it, or replaces it by one with other values."""
    await strictly_applied(plugin, *manifests(**values))
    await plugin.wait_for("daemonset", NAME, is_ready, timeout=90)


async def remove(plugin: Kube) -> None:
    for kind, name in (("csidriver", DRIVER), ("clusterrole", NAME), ("clusterrolebinding", NAME)):
        await plugin.delete(kind, name)
    await plugin.delete("namespace", NAMESPACE, wait=True)


def is_ready(daemon_set: Object) -> bool:
    status = daemon_set.get("status", {})
    is_seen = status.get("observedGeneration") == daemon_set["metadata"]["generation"]
    return bool(is_seen and 1 <= status.get("numberReady", 0) == status.get("updatedNumberScheduled", 0))


async def pod_on(plugin: Kube, node: str) -> Object:
    [pod] = [pod for pod in await plugin.select("pods", PODS) if pod["spec"].get("nodeName") == node]
    return pod


def pod(name: str, program: str, *, node: str, keys: str = KEY, attributes: Mapping[str, str] | None = None) -> Object:
    """A pod that a restricted namespace admits; the folder of its namespace is at /cache. `node`: the simulated ones of
    a devcluster have no disks."""
    volume = {"driver": DRIVER, "volumeAttributes": {"keys": keys, **(attributes or {})}}
    container = {"securityContext": RESTRICTED, "volumeMounts": [{"name": "cache", "mountPath": "/cache"}]}
    volumes = [{"name": "cache", "csi": volume}]
    command = objects.python(program)
    return objects.pod(name, OPERATOR_IMAGE.name, command, container=container, volumes=volumes, nodeName=node)
