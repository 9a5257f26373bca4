"""What planning has to know of each engine: where it runs, and the ServingRuntime that has its image there.

All of it is from the engine.yaml of each engine. How one is started, `slipway.operator.rendering.engines` says.
"""

from __future__ import annotations

from collections.abc import Mapping

from slipway.contract.engines import BUILT_IN, OTHERS

CPU = "CPU"

RUNTIMES: Mapping[str, Mapping[str, str]] = {each.name: each.runtimes for each in BUILT_IN}
ON_CPUS = tuple(name for name, each in OTHERS.items() if not each.needs_devices)  # their runtimes request no devices
NEED_DEVICES = {each.name for each in BUILT_IN if each.needs_devices} | (OTHERS.keys() - set(ON_CPUS))


def is_ours(engine: str) -> bool:
    """Whether Slipway builds the engine in; any other name is that of a ServingRuntime."""
    return engine in RUNTIMES


def runtime_for(engine: str, vendor: str) -> str | None:
    """The ServingRuntime for an engine on hardware of a vendor; None if the engine doesn't run there."""
    return RUNTIMES[engine].get(vendor) if is_ours(engine) else engine


def needs_devices(engine: str) -> bool:
    """Whether it is known to run on accelerators alone; nothing is known of a ServingRuntime that isn't Slipway's."""
    return engine in NEED_DEVICES
