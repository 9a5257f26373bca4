"""Volumes that are made when they are claimed: folders of the node, by Rancher's local-path-provisioner. Pure.

The provisioner is a process of the node, like the scheduler. For each volume it starts a pod, which makes the folder,
or removes it: that pod runs the program that is on every node already, as process 1 of each pod.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from slipway_devcluster.components import Component, Layout

Object = dict[str, Any]

STORAGE_CLASS, SHARED_CLASS = "local-path", "local-path-shared"
PROVISIONER = "rancher.io/local-path"
USER = "local-path"  # the file of its credentials
NAMESPACE = "kube-system"  # of its pods
HELPER = {"slipway-devcluster": "volume"}  # the label of its pods
IMAGE, PROGRAM = "localhost/pause:1", "/node"
DEFAULT = "storageclass.kubernetes.io/is-default-class"


def storage_classes(*, is_default: bool) -> list[Object]:
    """One whose volumes belong to a node, as most in clouds belong to a zone, and one whose volumes all nodes reach."""
    return [_storage_class(STORAGE_CLASS, {DEFAULT: "true"} if is_default else {}), _storage_class(SHARED_CLASS, {})]


def _storage_class(name: str, annotations: dict[str, str]) -> Object:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name, "annotations": annotations},
        "provisioner": PROVISIONER,
        "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Delete",
    }


def provisioner(layout: Layout, program: Path) -> Component:
    argv = [
        str(program),
        "start",
        f"--kubeconfig={layout.kubeconfig_of(USER)}",
        f"--config={layout.config}/local-path.json",
        f"--helper-pod-file={layout.config}/local-path-helper.json",
        f"--helper-image={IMAGE}",
        f"--provisioner-name={PROVISIONER}",
        f"--namespace={NAMESPACE}",
        "--service-account-name=default",
    ]
    return Component("local-path-provisioner", argv)


def configuration(layout: Layout) -> str:
    """The node's own classes; a folder is removed with its volume, and all of them with the cluster."""
    folder = layout.state / "volumes"
    of_nodes = {"nodePathMap": [{"node": "DEFAULT_PATH_FOR_NON_LISTED_NODES", "paths": [f"{folder}/nodes"]}]}
    classes = {STORAGE_CLASS: of_nodes, SHARED_CLASS: {"sharedFileSystemPath": f"{folder}/shared"}}
    return json.dumps({"setupCommand": PROGRAM, "teardownCommand": PROGRAM, "storageClassConfigs": classes}, indent=2)


def helper_pod() -> str:
    """It writes to a folder of the node, so it is root."""
    container = {
        "name": "volume",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {"runAsUser": 0, "runAsGroup": 0},
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "volume", "labels": HELPER},
        "spec": {"containers": [container], "automountServiceAccountToken": False},
    }
    return json.dumps(pod, indent=2)


def kwok_stage() -> str:
    """On a simulated node such a pod ends at once, as if it had made its folder."""
    stage = {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": "volume-made"},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": "Pod"},
            "selector": {
                "matchLabels": HELPER,
                "matchExpressions": [{"key": ".status.phase", "operator": "In", "values": ["Running"]}],
            },
            "next": {"statusTemplate": "phase: Succeeded"},
        },
    }
    return json.dumps(stage)
