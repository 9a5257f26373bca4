"""The release of Slipway in a devcluster, with other values for as long as a block of a test lasts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from slipway_devcluster.cluster import Cluster
from slipway_devcluster.components import SLIPWAY_NAMESPACE

from support.cluster.kube import Kube
from support.repository import CHARTS

RELEASE = ["slipway", f"--namespace={SLIPWAY_NAMESPACE}"]
PROGRAMS = ("slipway-operator", "slipway-activator")
KEEPS_NO_OLD_RUNTIME = ("operator.env[0].name=SLIPWAY_KEEP_OLD_RUNTIMES", "operator.env[0].value=1s")
"""For `with_values`."""


async def helm(cluster: Cluster, *arguments: str) -> str:
    return await asyncio.to_thread(cluster.run_helm, arguments)


@asynccontextmanager
async def with_values(cluster: Cluster, home: Kube, *sets: str) -> AsyncGenerator[None]:
    """`sets`: as for `helm --set`. `home`: Slipway's namespace. In the end they are as before, whatever happens."""
    await helm(
        cluster, "upgrade", *RELEASE, str(CHARTS / "slipway"), "--reuse-values", *(f"--set={each}" for each in sets)
    )
    try:
        await rolled_out(home)
        yield
    finally:
        await helm(cluster, "rollback", *RELEASE)
        await rolled_out(home)


async def rolled_out(home: Kube) -> None:
    for program in PROGRAMS:
        await home.run("rollout", "status", f"deployment/{program}", "--timeout=120s")
