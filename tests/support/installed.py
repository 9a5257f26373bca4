"""What a cluster needs before the operator can work in it: the types, the runtimes, the profiles, and its namespace."""

from __future__ import annotations

from support import slipway_api
from support.kube import Kube
from support.operator import NAMESPACE
from support.rendered import ACCELERATORS, RUNTIMES, documents, strictly_applied


async def install(kube: Kube, llamacpp_image: str) -> None:
    """As Slipway's charts do it, with the image that was built here."""
    await slipway_api.install(kube)
    await kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    runtimes = documents(RUNTIMES)
    for runtime in runtimes:
        if runtime["metadata"]["name"] == "slipway-llamacpp":
            runtime["spec"]["containers"][0]["image"] = llamacpp_image
    await strictly_applied(kube, *runtimes, *documents(ACCELERATORS))
