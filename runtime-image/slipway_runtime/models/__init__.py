"""Models on disk: which files belong to one, whether they are complete, and what their headers say."""

from slipway_runtime.models.facts import AdapterFacts, Facts
from slipway_runtime.models.inspecting import inspect_command, report_command
from slipway_runtime.models.locating import LocatedModel, find_adapter, find_model
from slipway_runtime.models.problem import ModelError
from slipway_runtime.models.reading import read_adapter, read_model

__all__ = [
    "AdapterFacts",
    "Facts",
    "LocatedModel",
    "ModelError",
    "find_adapter",
    "find_model",
    "inspect_command",
    "read_adapter",
    "read_model",
    "report_command",
]
