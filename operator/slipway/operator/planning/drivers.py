"""Whether the nodes' NVIDIA drivers run the image, before any pod starts: a driver that is too old ends each start with
DriverMismatch. Pure.

Within one major version of CUDA, a driver runs programs that are newer than it is; a newer driver runs all older ones.
So the major version of the image's CUDA decides which driver it needs at least (NVIDIA, CUDA Compatibility, table 1:
https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from slipway.operator.planning.stock.nodes import numbers
from slipway.operator.planning.supply import ProfileSupply

IMAGE_CUDA: Mapping[str, int] = {"slipway-vllm-cuda": 13}
"""The major version of CUDA in our images, by ServingRuntime; of runtime-image/requirements/vllm-cuda.txt."""

OLDEST_DRIVER: Mapping[int, int] = {11: 450, 12: 525, 13: 580}
"""The oldest major version of the driver for each major version of CUDA."""


@dataclass(frozen=True)
class DriverCheck:
    """What a plan says of the drivers. Both are empty where the drivers are new enough, or unknown."""

    rejected: str = ""  # half a sentence: no node of the profile runs the image
    warning: str = ""  # a sentence: some nodes don't
    oldest: int | None = None  # the major version that pods need, where some nodes have an older one


def check_drivers(runtime: str, supply: ProfileSupply | None) -> DriverCheck:
    """`runtime`: the plan's ServingRuntime; of others than ours, the version of CUDA is unknown."""
    cuda = IMAGE_CUDA.get(runtime)
    needed = OLDEST_DRIVER.get(cuda) if cuda else None
    if supply is None or needed is None or not supply.drivers:
        return DriverCheck()
    old = [each for each in supply.drivers if numbers(each)[:1] < (needed,)]
    if not old:
        return DriverCheck()
    found = _listed(old)
    needs = f"the engine's image has CUDA {cuda}, which needs driver {needed} or newer"
    if len(old) < len(supply.drivers):
        warning = (
            f"Some nodes have driver {found}, but {needs}: a replica that starts there fails with DriverMismatch. "
            f"Update these nodes' drivers, or keep the replicas away from them with pod.nodeSelector."
        )
        return DriverCheck(warning=warning, oldest=needed)
    if supply.can_grow:
        return DriverCheck(warning=f"All its nodes have driver {found}, but {needs}; a new node may have a newer one.")
    return DriverCheck(
        rejected=f"its nodes have driver {found}, and {needs}: update the driver, or run an image with an older CUDA"
    )


def _listed(versions: list[str]) -> str:
    shown = versions if len(versions) <= 3 else [*versions[:2], f"{len(versions) - 2} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
