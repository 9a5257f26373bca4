"""What planning must know of each engine: where it runs, and the ServingRuntime with its image there.

All of it is from the engine.yaml of each engine. How one is started is in `slipway.operator.rendering.engines`.
"""

from __future__ import annotations

from collections.abc import Mapping

from slipway.contract.engines import BUILT_IN, OTHERS

CPU = "CPU"

RUNTIMES: Mapping[str, Mapping[str, str]] = {each.name: each.runtimes for each in BUILT_IN}
ON_CPUS = tuple(name for name, each in OTHERS.items() if not each.needs_devices)  # their runtimes request no devices
NEED_DEVICES = {each.name for each in BUILT_IN if each.needs_devices} | (OTHERS.keys() - set(ON_CPUS))


def is_ours(engine: str) -> bool:
    """Whether the engine is part of Slipway; any other name is that of a ServingRuntime from elsewhere."""
    return engine in RUNTIMES


def runtime_for(engine: str, vendor: str) -> str | None:
    """The ServingRuntime for an engine on hardware of a vendor; None if the engine doesn't run there."""
    return RUNTIMES[engine].get(vendor) if is_ours(engine) else engine


def runtimes_for(engine: str) -> set[str]:
    """All ServingRuntimes that a plan may name, whatever the hardware: those of Slipway's engines, and the engine's."""
    return {name for by_vendor in RUNTIMES.values() for name in by_vendor.values()} | {engine}


def needs_devices(engine: str) -> bool:
    """Whether it is known to run on accelerators only; nothing is known of a ServingRuntime from elsewhere."""
    return engine in NEED_DEVICES
