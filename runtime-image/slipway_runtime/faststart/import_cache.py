"""Caches what packages find out at import by searching the image's files, which never change.

At each import transformers reads 1,600 files, twice, to learn which of its models needs what, and reads the file lists
of all packages to learn which package a module belongs to: a tenth of the time of all imports.
"""

from __future__ import annotations

import hashlib
import marshal
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any, Self

from slipway_runtime.faststart.adapters.parts import UnexpectedError, expect
from slipway_runtime.faststart.after_import import run_after_import
from slipway_runtime.faststart.settings import IMPORT_CACHE

ENVIRONMENT = IMPORT_CACHE
LAZY = "transformers.utils.import_utils"


class ImportCache:
    """Cached results for the installed packages; with other packages, the files have other names."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    @classmethod
    def of(cls, prefix: str, path: Sequence[str]) -> Self:
        """Names the cache by all packages that can be imported, with their versions."""
        found = (entry for folder in path for entry in _entries(folder) if entry.endswith((".dist-info", ".egg-info")))
        return cls(f"{prefix}-{hashlib.sha256('/'.join(sorted(found)).encode()).hexdigest()[:16]}")

    def get(self, name: str, search: Callable[[], Any]) -> Any:
        """Returns a result, computed if need be. marshal supports frozen sets, and runs no code from what it reads."""
        file = Path(f"{self._prefix}-{name}")
        with suppress(OSError, ValueError, TypeError, EOFError):
            return marshal.loads(file.read_bytes())
        found = search()
        unfinished = file.with_name(f"{file.name}.{os.getpid()}")  # the other child may write it at the same time
        with suppress(OSError, ValueError):
            unfinished.write_bytes(marshal.dumps(found))
            unfinished.replace(file)
        return found


def install(environment: Mapping[str, str]) -> None:
    """Replaces the searches; to be called before anything is imported that makes one."""
    if not (prefix := environment.get(ENVIRONMENT)):
        return
    cache, distributions = ImportCache.of(prefix, sys.path), metadata.packages_distributions
    metadata.packages_distributions = lambda: cache.get("distributions", distributions)
    run_after_import(LAZY, lambda module: _keep_structure(module, cache))


def _keep_structure(module: Any, cache: ImportCache) -> None:
    """Caches the search of the folder with all models. A transformers with other functions is left alone."""
    try:
        search = module.create_import_structure_from_path
        expect(search, "module_path")
    except (AttributeError, UnexpectedError):
        return
    models = Path(module.__file__).parents[1] / "models"

    def create_import_structure_from_path(module_path: Any) -> Any:
        if Path(module_path) in (models, models / "__init__.py"):
            return cache.get("transformers", lambda: search(module_path))
        return search(module_path)

    module.create_import_structure_from_path = create_import_structure_from_path


def _entries(folder: str) -> list[str]:
    try:
        return [entry.name for entry in Path(folder).iterdir()]
    except OSError:
        return []
