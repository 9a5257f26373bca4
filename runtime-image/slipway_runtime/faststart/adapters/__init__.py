"""What the fast start knows about vLLM's internals: one module per version, and none for other versions."""

from __future__ import annotations

import importlib
from types import ModuleType

VERSIONS = {"0.24.0": "vllm_0_24", "0.32.0": "vllm_0_32"}


def adapter_for(version: str) -> ModuleType:
    """Returns the version's module, without importing vLLM; raises KeyError for a version that has none."""
    exact = version.partition("+")[0]  # the rest names the build: +cpu, +cu130
    return importlib.import_module(f"{__name__}.{VERSIONS[exact]}")


def knows(version: str) -> bool:
    return version.partition("+")[0] in VERSIONS
