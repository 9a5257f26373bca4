"""Keeps the names of Triton's compiled kernels the same at each start, so that the next one finds them.

A name is a hash of a kernel's source, of Triton's own files, and of ptxas' version. Hashing Triton's own files takes
0.3 s, and they never change in an image. torch points Triton to its own ptxas, but only when it loads a kernel itself;
so it is random whether names are made with torch's ptxas or Triton's, and a cache with one half of the names compiles
all kernels again. Here it is torch's from the start.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import MutableMapping
from pathlib import Path

ENVIRONMENT = "SLIPWAY_TRITON_KEY"
"""The variable with the path of the stored hash."""
PTXAS = "TRITON_PTXAS_PATH"
HOLDERS = ("triton.runtime.cache", "torch._inductor.runtime.triton_compat", "triton.runtime.autotuner")


def choose_ptxas(environment: MutableMapping[str, str]) -> None:
    """Selects torch's ptxas; to be called before Triton is imported. Without one, Triton's is the only choice."""
    torch = importlib.util.find_spec("torch")
    if torch and torch.submodule_search_locations:
        ptxas = Path(torch.submodule_search_locations[0]) / "bin/ptxas"
        if ptxas.is_file():
            environment.setdefault(PTXAS, str(ptxas))


def keep_key(path: str | None) -> None:
    """Stores the hash of Triton's files in the cache, whose manifest names Triton's version."""
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
