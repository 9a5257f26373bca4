"""Names the callers of torch's registrations without reading their files.

torch stores the file and the line of each registration of an operator, in case two of them conflict. It asks inspect,
which on the way looks up the real path of every module there is, and reads and splits the whole file: a twentieth of
the time of all imports.
"""

from __future__ import annotations

import sys
from typing import Any

from slipway_runtime.faststart.adapters.parts import UnexpectedError, expect, expect_uses
from slipway_runtime.faststart.after_import import run_after_import

REGISTRATIONS = "torch._library.utils"


def install() -> None:
    """To be called before torch is imported."""
    run_after_import(REGISTRATIONS, _name_quickly)


def _name_quickly(module: Any) -> None:
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
