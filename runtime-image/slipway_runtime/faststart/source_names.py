"""Finds the callers of torch's registrations without reading files.

torch stores by which module, and by which line of it, each operator was registered. It asks inspect for that, which
looks up the real path of every module that was imported since its last answer, and reads the whole file that the line
is in: a twentieth of the time of all imports.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, ModuleType
from typing import Any

from slipway_runtime.faststart.adapters.parts import UnexpectedError, expect, expect_uses
from slipway_runtime.faststart.after_import import run_after_import

REGISTRATIONS = "torch._library.utils"


@contextmanager
def found_quickly() -> Iterator[None]:
    """To be entered before torch is imported."""
    run_after_import(REGISTRATIONS, _name_lines_quickly)
    slowly = inspect.getmodule

    def getmodule(object: Any, _filename: str | None = None) -> ModuleType | None:  # noqa: A002 - as inspect has it
        if isinstance(object, FrameType):
            module = sys.modules.get(object.f_globals.get("__name__", ""))
            if module is not None and vars(module) is object.f_globals:
                return module
        return slowly(object, _filename)

    inspect.getmodule = getmodule
    try:
        yield
    finally:
        inspect.getmodule = slowly


def _name_lines_quickly(module: Any) -> None:
    """Leaves a torch with another function alone."""
    try:
        expect(module.get_source, "stacklevel")
        expect_uses(module.get_source, "getframeinfo", "filename", "lineno")
    except (AttributeError, UnexpectedError):
        return

    def get_source(stacklevel: int) -> str:
        frame = sys._getframe(stacklevel)
        return f"{frame.f_code.co_filename}:{frame.f_lineno}"

    module.get_source = get_source
