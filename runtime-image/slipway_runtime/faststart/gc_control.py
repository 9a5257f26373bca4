"""Control of Python's garbage collector: little of what a start creates is garbage, and collecting takes seconds.

Nor is there much garbage while requests are answered, yet with the usual threshold the collector would run all the
time: a few hundred streams hold more new objects than that at any time, so each run finds all of them in use.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

BETWEEN_LOOKS = 10_000  # new objects between two collections; Python's default is 700 or 2,000


class GcControl:
    """Switches the collector off for the start; afterwards on again, without the objects that exist by then."""

    def __init__(self) -> None:
        self._collect: Callable[..., int] = gc.collect

    def hold(self) -> None:
        gc.disable()
        gc.collect = lambda generation=2: 0  # vLLM calls it many times while it starts

    def release(self) -> None:
        gc.collect = self._collect
        gc.freeze()
        gc.set_threshold(BETWEEN_LOOKS, *gc.get_threshold()[1:])
        gc.enable()
