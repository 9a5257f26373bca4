"""Whether the nodes' NVIDIA drivers run the image, before any pod starts: a driver that is too old ends each start with
DriverMismatch. Pure.

Within one major version of CUDA, a driver runs programs that are newer than it is; a newer driver runs all older ones.
So the major version of the image's CUDA decides which driver it needs at least (NVIDIA, CUDA Compatibility, table 1:
https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from slipway.operator.planning.stock.nodes import numbers
from slipway.operator.planning.supply import ProfileSupply

IMAGE_CUDA: Mapping[str, int] = {"slipway-vllm-cuda": 13}
"""The major version of CUDA in our images, by ServingRuntime; of runtime-image/requirements/vllm-cuda.txt."""

OLDEST_DRIVER: Mapping[int, int] = {11: 450, 12: 525, 13: 580}
"""The oldest major version of the driver for each major version of CUDA."""


LABELS = ("nvidia.com/cuda.driver-version.major", "nvidia.com/cuda.driver.major")
"""Of GPU Feature Discovery, new and old: all of its versions write the major version by itself."""


@dataclass(frozen=True)
class DriverCheck:
    """What a plan says of the drivers. All are empty where the drivers are new enough, or unknown."""

    rejected: str = ""  # half a sentence: no node of the profile runs the image
    warning: str = ""  # a sentence: some nodes don't
    excluded: tuple[dict[str, str], ...] = ()  # labels of the nodes that don't, each of which is enough


def check_drivers(runtime: str, supply: ProfileSupply | None) -> DriverCheck:
    """`runtime`: the plan's ServingRuntime; of others than ours, the version of CUDA is unknown."""
    cuda, old = IMAGE_CUDA.get(runtime), _too_old(runtime, supply)
    if supply is None or not cuda or not old:
        return DriverCheck()
    found = _listed(old)
    needs = f"the engine's image has CUDA {cuda}, which needs driver {OLDEST_DRIVER[cuda]} or newer"
    majors = sorted({numbers(each)[0] for each in old})
    excluded = tuple({label: str(major)} for label in LABELS for major in majors)
    if len(old) < len(supply.on_drivers):
        warning = (
            f"Some nodes have driver {found}, but {needs}, so no replica starts there: update these nodes' drivers to "
            "use them."
        )
        return DriverCheck(warning=warning, excluded=excluded)
    if supply.can_grow:
        warning = f"All its nodes have driver {found}, but {needs}; a new node may have a newer one."
        return DriverCheck(warning=warning, excluded=excluded)
    return DriverCheck(
        rejected=f"its nodes have driver {found}, and {needs}: update the driver, or run an image with an older CUDA"
    )


def that_run(runtime: str, supply: ProfileSupply) -> ProfileSupply:
    """The supply without the nodes whose driver is too old for the image."""
    old = _too_old(runtime, supply)
    if not old:
        return supply
    others = [each for each in supply.on_drivers if each.driver not in old]
    free = [each.most_free_on_a_node for each in others]
    known = [each for each in free if each is not None]
    return replace(
        supply,
        nodes=sum(each.nodes for each in others),
        most_on_a_node=max((each.most_on_a_node for each in others), default=0),
        most_free_on_a_node=max(known, default=0) if len(known) == len(free) else None,
        on_drivers=tuple(others),
    )


def _too_old(runtime: str, supply: ProfileSupply | None) -> list[str]:
    needed = OLDEST_DRIVER.get(IMAGE_CUDA.get(runtime, 0))
    if supply is None or needed is None:
        return []
    return [each for each in supply.drivers if numbers(each)[:1] < (needed,)]


def _listed(versions: list[str]) -> str:
    shown = versions if len(versions) <= 3 else [*versions[:2], f"{len(versions) - 2} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
