"""What a cluster needs before the operator can run: the types, the runtimes, the profiles, and its namespace."""

from __future__ import annotations

from support.builders import objects
from support.cluster.kube import Kube
from support.cluster.rendering import strictly_applied
from support.programs.operator import NAMESPACE
from support.repository import ACCELERATORS, CRDS, POLICIES, RUNTIMES, documents

DEFINITIONS = ("llmdeployments.slipway.dev", "acceleratorprofiles.slipway.dev")


async def install_types(kube: Kube) -> None:
    """Applies the CRDs and the admission policies."""
    await kube.run("apply", "--server-side", "--force-conflicts", "--filename", str(CRDS))
    for name in DEFINITIONS:
        await kube.wait_for_condition("customresourcedefinition", name, "Established")
    await kube.run("apply", "--server-side", "--force-conflicts", "--filename", str(POLICIES))


async def install(kube: Kube, llamacpp_image: str) -> None:
    """Applies what Slipway's charts install, with the llama.cpp image that was built here."""
    await install_types(kube)
    await kube.apply(objects.namespace(NAMESPACE))
    runtimes = documents(RUNTIMES)
    for runtime in runtimes:
        if runtime["metadata"]["name"] == "slipway-llamacpp":
            runtime["spec"]["containers"][0]["image"] = llamacpp_image
    await strictly_applied(kube, *runtimes, *documents(ACCELERATORS))
