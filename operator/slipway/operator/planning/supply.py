"""What the cluster has to run models on: for each accelerator profile its nodes, and whether more could come. Pure.

`stock` computes it from the cluster's objects. Without rights to see nodes, everything is unknown and nothing is ruled
out because of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Spot = Literal["Never", "Allowed", "Required"]


class Room(NamedTuple):
    """What is free on one node, for replicas on CPUs."""

    cpu: int  # thousandths
    memory: int  # bytes

    def holds(self, cpu: int, memory: int) -> bool:
        return cpu <= self.cpu and memory <= self.memory


@dataclass(frozen=True, kw_only=True)
class OnDriver:
    """The nodes of one profile that have the same version of the driver."""

    driver: str  # empty: unknown
    nodes: int
    most_on_a_node: int
    most_free_on_a_node: int | None


@dataclass(frozen=True, kw_only=True)
class ProfileSupply:
    """The nodes of one profile, as they are now."""

    nodes: int = 0  # that have its labels and its resource, whether pods could start there now or not
    devices: int = 0  # allocatable, in all
    most_on_a_node: int = 0  # allocatable
    free: int | None = None  # in all, where pods could start now; None: unknown, because pods aren't seen
    most_free_on_a_node: int | None = None
    rooms: tuple[Room, ...] | None = None  # of a profile of CPUs: the largest ones; None: unknown
    spot_nodes: int = 0  # of the nodes, those on spot terms
    can_grow: bool = False  # an autoscaler could bring such a node
    growth: str = ""  # what could, such as "NodePool gpu-l4"
    on_drivers: tuple[OnDriver, ...] = ()  # the same by version of the driver, the oldest first
    cuda: tuple[str, ...] = ()  # versions of CUDA that these drivers support, the oldest first
    memory: int | None = None  # bytes of one device as a label says it, the smallest; None: no label
    memory_of_node: int | None = None  # allocatable bytes of host memory on the smallest node

    # --- why there are not more ---------------------------------------------------------------------------------------
    out_of_use: int = 0  # of the nodes, those that are cordoned or not ready
    tainted: int = 0  # further nodes, with taints that the profile doesn't tolerate
    taints: tuple[str, ...] = ()  # these taints, such as team=research:NoSchedule
    without_devices: int = 0  # further nodes, which have the labels and not the resource
    remarks: tuple[str, ...] = ()  # sentences on what could not be found out, or keeps it from growing

    @property
    def drivers(self) -> tuple[str, ...]:
        """The known versions, the oldest first."""
        return tuple(each.driver for each in self.on_drivers if each.driver)


@dataclass(frozen=True)
class Supply:
    """None for `profiles`: nodes are not watched."""

    profiles: Mapping[str, ProfileSupply] | None = field(default=None)
    regular: Mapping[str, ProfileSupply] = field(default_factory=dict)  # without spot nodes, for profiles that have any
    spot: Mapping[str, ProfileSupply] = field(default_factory=dict)  # spot nodes alone
    read_at: float | None = field(default=None, compare=False)  # when the pods on all nodes were read, since 1970

    def of(self, profile: str, spot: Spot = "Allowed") -> ProfileSupply | None:
        """None: unknown. `spot`: as the spec allows it."""
        if self.profiles is None:
            return None
        if spot == "Required":
            return self.spot.get(profile, ProfileSupply())
        everything = self.profiles.get(profile, ProfileSupply())
        return self.regular.get(profile, everything) if spot == "Never" else everything
