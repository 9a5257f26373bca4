"""Breaks parts of a cluster for as long as a block of a test lasts, and makes them whole again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from slipway_devcluster.cluster import Cluster

from support.builders.objects import Object
from support.cluster.kube import Kube

KILL_ALL = """
for group in $(grep -l "$1" /proc/[0-9]*/cgroup); do
    folder=${group%/cgroup}
    [ "$(readlink $folder/exe)" = /node ] || kill -9 ${folder#/proc/}
done
"""
"""The processes in the control groups of a pod, but not the program of the node that keeps its network."""


async def kill_pod(kube: Kube, name: str) -> None:
    """Ends a pod at once, without its grace period."""
    await kube.run("delete", "pod", name, "--grace-period=0", "--force", "--wait=false")


async def crash(cluster: Cluster, pod: Object) -> None:
    """Kills the programs of a pod, as a crash or the lack of memory would; the kubelet starts them anew."""
    await asyncio.to_thread(cluster.namespaces.run, ["sh", "-c", KILL_ALL, "crash", pod["metadata"]["uid"]])


@asynccontextmanager
async def without(cluster: Cluster, component: str, *, killed: bool = False) -> AsyncGenerator[None]:
    """A component is stopped (or killed, as in a crash) and started again at the end."""
    await asyncio.to_thread(cluster.kill if killed else cluster.stop, component)
    try:
        yield
    finally:
        await asyncio.to_thread(cluster.start, component)


@asynccontextmanager
async def paused(cluster: Cluster, component: str) -> AsyncGenerator[None]:
    """A component hangs: its connections stay open, and nothing is answered."""
    await asyncio.to_thread(cluster.pause, component)
    try:
        yield
    finally:
        await asyncio.to_thread(cluster.resume, component)
