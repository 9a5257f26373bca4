"""Why an engine ended: its last lines and its exit code, read by somebody who knows what they mean."""

from slipway_runtime.diagnosis.diagnosing import diagnose
from slipway_runtime.diagnosis.memory import kills_for_memory

__all__ = ["diagnose", "kills_for_memory"]
