"""Slipway's helm release in a devcluster, with other values while a block of a test lasts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager

from slipway_devcluster.cluster import Cluster
from slipway_devcluster.components import SLIPWAY_NAMESPACE

from support.cluster.kube import Kube
from support.repository import CHARTS

RELEASE = ["slipway", f"--namespace={SLIPWAY_NAMESPACE}"]
PROGRAMS = ("slipway-operator", "slipway-activator")
KEEPS_NO_OLD_RUNTIME = ("operator.env[0].name=SLIPWAY_KEEP_OLD_RUNTIMES", "operator.env[0].value=1s")
"""Values for `with_values`: the runtimes of an older release are removed after a second."""


async def helm(cluster: Cluster, *arguments: str) -> str:
    return await asyncio.to_thread(cluster.run_helm, arguments)


@asynccontextmanager
async def with_values(cluster: Cluster, home: Kube, *sets: str, replaced: Collection[str] = ()) -> AsyncGenerator[None]:
    """Upgrades to these values, and rolls back at the end of the block, whatever happens in it.

    `sets` are as for `helm --set`; `home` is Slipway's namespace. `replaced` names programs whose older pods must be
    gone before the block starts: while they drain, they still answer, with older values or rights.
    """
    older = await pods_of(home, *replaced) if replaced else []
    await helm(
        cluster, "upgrade", *RELEASE, str(CHARTS / "slipway"), "--reuse-values", *(f"--set={each}" for each in sets)
    )
    try:
        await rolled_out(home)
        for pod in older:
            await home.wait_gone("pod", pod, timeout=120)
        yield
    finally:
        await helm(cluster, "rollback", *RELEASE)
        await rolled_out(home)


async def pods_of(home: Kube, *programs: str) -> list[str]:
    """Returns the names of the pods of these programs, of those that are ending as well."""
    found = await home.select("pods", f"app.kubernetes.io/name in ({','.join(programs)})")
    return [pod["metadata"]["name"] for pod in found]


async def rolled_out(home: Kube) -> None:
    """Waits until each program runs as its Deployment says now."""
    for program in PROGRAMS:
        await home.run("rollout", "status", f"deployment/{program}", "--timeout=120s")
