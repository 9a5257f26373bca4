"""Nodes without a machine: a test writes their status. Pods that are scheduled there never start."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from support.cluster.kube import Kube

CAPACITY = {"cpu": "4", "memory": "4Gi", "pods": "10"}
ANYWHERE = [{"operator": "Exists"}]
"""The tolerations of a pod that stays on such a node, whatever its status."""


@asynccontextmanager
async def made_up_node(kube: Kube) -> AsyncGenerator[str]:
    """Creates a Ready node whose label `is` has its name."""
    name = f"node-of-{kube.namespace}"
    await kube.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"is": name}}})
    await set_ready(kube, name, ready=True)
    try:
        yield name
    finally:
        await kube.delete("node", name)


async def set_ready(kube: Kube, node: str, *, ready: bool) -> None:
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    words = {"reason": "Test", "message": "fine" if ready else "container runtime is down"}
    times = {"lastHeartbeatTime": now, "lastTransitionTime": now}
    status = {
        "capacity": CAPACITY,
        "allocatable": CAPACITY,
        "conditions": [{"type": "Ready", "status": str(ready), **words, **times}],
    }
    await kube.patch("node", node, {"status": status}, subresource="status")
