"""Triton's hash of its own installation, by which it names what it compiles: kept instead of computed at each start.

It takes 0.3 s, and an image never changes it.
"""

from __future__ import annotations

import importlib
from pathlib import Path

HOLDERS = ("triton.runtime.cache", "torch._inductor.runtime.triton_compat", "triton.runtime.autotuner")


def keep(path: str | None) -> None:
    """The answer goes into the cache, whose manifest names Triton's version. Without Triton there is nothing to do."""
    if not path:
        return
    file = Path(path)
    try:
        modules = [importlib.import_module(name) for name in HOLDERS]
        compute = modules[0].triton_key
    except (ImportError, AttributeError):
        return
    if not file.exists():
        file.write_text(compute())
    key = file.read_text()
    for module in modules:
        if hasattr(module, "triton_key"):
            module.triton_key = lambda: key  # type: ignore[attr-defined]
