"""What planning must know of each engine: where it runs, and the ServingRuntime that has its image there.

How an engine is started is not known here: that is one module for each in `slipway.operator.rendering.engines`.
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
ON_CPUS = ("slipway-ovms",)  # of the others that the chart can bring; their runtimes ask for no devices


def is_ours(engine: str) -> bool:
    """Whether Slipway brings the engine along; any other name is that of a ServingRuntime somebody else made."""
    return engine in RUNTIMES


def runtime_for(engine: str, vendor: str) -> str | None:
    """The ServingRuntime for an engine on hardware of a vendor; None where the engine doesn't run."""
    return RUNTIMES[engine].get(vendor) if is_ours(engine) else engine


def needs_devices(engine: str) -> bool:
    """Whether it is known to run on accelerators alone; of a runtime that somebody else made, nothing is."""
    return engine == VLLM or (engine in OTHER_RUNTIMES and engine not in ON_CPUS)
