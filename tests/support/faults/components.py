"""Breaks parts of a cluster while a block of a test lasts, and repairs them at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from slipway_devcluster import nodes
from slipway_devcluster.cluster import Cluster

from support.builders.objects import Object
from support.cluster.kube import Kube

SIGNAL_ALL = """
for group in $(grep -l "$1" /proc/[0-9]*/cgroup); do
    folder=${group%/cgroup}
    [ "$(readlink $folder/exe)" = /node ] || kill -$2 ${folder#/proc/}
done
"""
"""Signals the processes in the control groups of a pod, but not the node's program that holds its network."""


async def kill_pod(kube: Kube, name: str) -> None:
    """Deletes a pod immediately, without its grace period."""
    await kube.run("delete", "pod", name, "--grace-period=0", "--force", "--wait=false")


async def crash(cluster: Cluster, pod: Object) -> None:
    """Kills the programs of a pod, as a crash or lack of memory would; the kubelet starts them again."""
    await _signal(cluster, pod, "KILL")


@asynccontextmanager
async def frozen(cluster: Cluster, pod: Object) -> AsyncGenerator[None]:
    """Stops the programs of a pod, as if they hung; they go on at the end, unless the pod is gone by then."""
    await _signal(cluster, pod, "STOP")
    try:
        yield
    finally:
        await _signal(cluster, pod, "CONT")


async def _signal(cluster: Cluster, pod: Object, name: str) -> None:
    command = ["sh", "-c", SIGNAL_ALL, "signal", pod["metadata"]["uid"], name]
    node = cluster.namespaces_of(pod["spec"]["nodeName"])
    await asyncio.to_thread(node.run, command)


@asynccontextmanager
async def without(cluster: Cluster, component: str, *, killed: bool = False) -> AsyncGenerator[None]:
    """Stops a component (or kills it, as in a crash), and starts it again at the end."""
    await asyncio.to_thread(cluster.kill if killed else cluster.stop, component)
    try:
        yield
    finally:
        await asyncio.to_thread(cluster.start, component)


@asynccontextmanager
async def without_power(cluster: Cluster, node: str) -> AsyncGenerator[None]:
    """Ends a further node of the cluster with all that runs on it; at the end it starts again and is Ready."""
    await asyncio.to_thread(nodes.cut_power, cluster, node)
    try:
        yield
    finally:
        await asyncio.to_thread(nodes.switch_on, cluster, node)


@asynccontextmanager
async def paused(cluster: Cluster, component: str) -> AsyncGenerator[None]:
    """Freezes a component: its connections stay open, and it doesn't respond."""
    await asyncio.to_thread(cluster.pause, component)
    try:
        yield
    finally:
        await asyncio.to_thread(cluster.resume, component)


@asynccontextmanager
async def scaled_to_zero(kube: Kube, deployment: str) -> AsyncGenerator[None]:
    """Scales a program to zero; as many replicas as before are ready again after the block."""
    replicas = (await kube.get("deployment", deployment))["spec"]["replicas"]
    await kube.scale("deployment", deployment, 0)
    try:
        yield
    finally:
        await kube.scale("deployment", deployment, replicas)
        await kube.run("rollout", "status", f"deployment/{deployment}", "--timeout=120s")
