"""What the fast start has to know of vLLM's insides: a module for each version, and none for any other."""

from __future__ import annotations

import importlib
from types import ModuleType

VERSIONS = {"0.24.0": "vllm_0_24", "0.32.0": "vllm_0_32"}


def adapter_for(version: str) -> ModuleType:
    """It imports nothing of vLLM by itself. KeyError for a version that nobody has looked into."""
    exact = version.partition("+")[0]  # what follows names the build: +cpu, +cu130
    return importlib.import_module(f"{__name__}.{VERSIONS[exact]}")


def knows(version: str) -> bool:
    return version.partition("+")[0] in VERSIONS
