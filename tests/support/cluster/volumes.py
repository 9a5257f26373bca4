"""A folder of this machine as a volume of the cluster, while a test needs it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from slipway_devcluster import model

from support.cluster.kube import Kube


@asynccontextmanager
async def folder_claimed(kube: Kube, claim: str, folder: Path) -> AsyncGenerator[None]:
    """Creates the volume and the claim; the claim goes with its namespace, the volume has none and is deleted here."""
    volume, claimed = model.persistent_volume(claim, folder, kube.namespace)
    await kube.apply(volume, claimed)
    try:
        yield
    finally:
        await kube.delete("persistentvolume", volume["metadata"]["name"])
