"""Why an engine ended, read from its last lines and its exit code. The sentences are in `slipway_runtime.contract`."""

from slipway_runtime.diagnosis.diagnosing import diagnose
from slipway_runtime.diagnosis.memory import kills_for_memory

__all__ = ["diagnose", "kills_for_memory"]
