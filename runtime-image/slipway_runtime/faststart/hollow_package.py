"""Imports a module without the rest of its package, where a package imports far more than the module needs."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType


def import_alone(package: str, module: str) -> None:
    """Imports `package.module`, so that later imports of it find it; the package itself can be imported later."""
    spec = None if package in sys.modules else importlib.util.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        return
    hollow = ModuleType(package)
    hollow.__path__ = list(spec.submodule_search_locations)
    sys.modules[package] = hollow
    name = f"{package}.{module}"
    try:
        importlib.import_module(name)
    finally:
        while (name := name.rpartition(".")[0]).startswith(package):
            sys.modules.pop(name, None)
        vars(sys.modules[name]).pop(package.rpartition(".")[2], None)
