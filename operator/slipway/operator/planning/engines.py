"""What planning must know of each engine: where it runs, and the ServingRuntime with its image there.

How an engine is started is in `slipway.operator.rendering.engines`, one module for each.
"""

from __future__ import annotations

from collections.abc import Mapping

from slipway.api.engine_flags import LLAMACPP, VLLM
from slipway.api.names import OTHER_RUNTIMES

CPU = "CPU"

RUNTIMES: Mapping[str, Mapping[str, str]] = {
    VLLM: {"NVIDIA": "slipway-vllm-cuda", "AMD": "slipway-vllm-rocm", CPU: "slipway-vllm-cpu"},
    LLAMACPP: {CPU: "slipway-llamacpp"},
}
ON_CPUS = ("slipway-ovms",)  # of the others that the chart can install; their runtimes request no devices


def is_ours(engine: str) -> bool:
    """Whether the engine is part of Slipway; any other name is that of a ServingRuntime from elsewhere."""
    return engine in RUNTIMES


def runtime_for(engine: str, vendor: str) -> str | None:
    """The ServingRuntime for an engine on hardware of a vendor; None where the engine doesn't run."""
    return RUNTIMES[engine].get(vendor) if is_ours(engine) else engine


def runtimes_for(engine: str) -> set[str]:
    """All ServingRuntimes that a plan may name, whatever the hardware: those of Slipway's engines, and the engine's."""
    return {name for by_vendor in RUNTIMES.values() for name in by_vendor.values()} | {engine}


def needs_devices(engine: str) -> bool:
    """Whether it is known to run on accelerators only; nothing is known of a ServingRuntime from elsewhere."""
    return engine == VLLM or (engine in OTHER_RUNTIMES and engine not in ON_CPUS)
