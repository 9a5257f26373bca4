"""What the cluster has to run models on: for each accelerator profile its nodes, and whether more could come. Pure.

`reconciling/supply.py` fills it in from the caches; without rights to see nodes, everything is unknown and nothing is
ruled out because of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class ProfileSupply:
    """The nodes of one profile, as they are now."""

    nodes: int = 0  # that have its labels and its resource
    devices: int = 0  # allocatable, in all
    most_on_a_node: int = 0  # allocatable
    free: int | None = None  # in all; None: unknown, because pods aren't seen
    most_free_on_a_node: int | None = None
    spot_nodes: int = 0  # of the nodes, those on spot terms
    can_grow: bool = False  # an autoscaler could bring such a node
    growth: str = ""  # what could, such as "NodePool gpu-l4"
    drivers: tuple[str, ...] = ()  # versions of the driver on the nodes, the oldest first; empty: unknown
    cuda: tuple[str, ...] = ()  # versions of CUDA that these drivers support, the oldest first
    memory: int | None = None  # bytes of one device as a label says it; None: no label
    memory_of_node: int | None = None  # allocatable bytes of host memory on the smallest node


@dataclass(frozen=True)
class Supply:
    """None for `profiles`: nodes are not watched."""

    profiles: Mapping[str, ProfileSupply] | None = field(default=None)

    def of(self, profile: str) -> ProfileSupply | None:
        """None: unknown."""
        return None if self.profiles is None else self.profiles.get(profile, ProfileSupply())
