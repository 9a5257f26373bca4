"""How much memory an engine sees of a device, which is less than the vendor's tool shows. Pure."""

from __future__ import annotations

import math

from slipway.api.acceleratorprofile import AcceleratorProfileSpec
from slipway.api.units import amount
from slipway.models.facts import Evidence
from slipway.operator.planning.memory.settings import Settings

TAKEN, SHARE_TAKEN = 2**29, 0.005
"""What CUDA takes of the memory that nvidia-smi shows, at most: half a GiB and half a percent. Of the devices whose
totals are known (docs/accelerators.md), from cards of 12 GiB to a B200 of 179, none loses more: 0.25 to 0.86 GiB."""


def seen_by_engine(spec: AcceleratorProfileSpec) -> tuple[int, Evidence]:
    """Bytes of one whole device. Of one that replicas share, `memory` is only the part of one of them."""
    if spec.usable_memory:
        return int(amount(spec.usable_memory)), Evidence.REPORTED
    shown = int(amount(spec.memory)) * spec.shared_by
    if spec.vendor != "NVIDIA":
        return shown, Evidence.REPORTED
    return int(shown * (1 - SHARE_TAKEN)) - TAKEN, Evidence.ESTIMATED


def part_of_replica(spec: AcceleratorProfileSpec) -> int:
    """Bytes of a device that one replica may plan with."""
    return seen_by_engine(spec)[0] // spec.shared_by


def share_planned(spec: AcceleratorProfileSpec, budget: int) -> float | None:
    """Of a whole device, how much of it the plan leaves to the engine; None: as much as the engine takes by default."""
    share = math.floor(budget / seen_by_engine(spec)[0] * 10_000) / 10_000
    return share if share < math.floor(Settings.utilization * 10_000) / 10_000 else None


def share_of_replica(spec: AcceleratorProfileSpec) -> float | None:
    """Of a whole device, how much its engine may use; None: the device isn't shared."""
    return math.floor(Settings.utilization / spec.shared_by * 10_000) / 10_000 if spec.shared_by > 1 else None
