"""What Triton names its compiled kernels by: the same at each start, so that they are found again.

A name is a hash of a kernel's source, of Triton's own files, and of what ptxas says of itself. Triton's own files take
0.3 s to hash, and an image never changes them. As to ptxas, torch points Triton to one of its own, but only when it
loads a kernel itself; so chance decides whether names are made with torch's or with Triton's, and a cache that knows
one half of them makes all of them anew. Here it is torch's from the beginning.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import MutableMapping
from pathlib import Path

PTXAS = "TRITON_PTXAS_PATH"
HOLDERS = ("triton.runtime.cache", "torch._inductor.runtime.triton_compat", "triton.runtime.autotuner")


def choose_ptxas(environment: MutableMapping[str, str]) -> None:
    """To be called before Triton is imported. Without an assembler of torch's there is only one to take."""
    torch = importlib.util.find_spec("torch")
    if torch and torch.submodule_search_locations:
        ptxas = Path(torch.submodule_search_locations[0]) / "bin/ptxas"
        if ptxas.is_file():
            environment.setdefault(PTXAS, str(ptxas))


def keep_key(path: str | None) -> None:
    """The hash of Triton's files goes into the cache, whose manifest names Triton's version."""
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
