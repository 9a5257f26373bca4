"""Python's garbage collector: little of what a start makes is garbage, and to look for it costs seconds.

Nor is there much while requests are answered, yet with the collector's usual threshold it looks all the time: a few
hundred streams hold more new objects than that at any time, so each look finds them all in use.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

BETWEEN_LOOKS = 10_000  # new objects; Python's own is 700 or 2,000


class GcControl:
    """Off from the start; on again, without all that is there by then, when the start is over."""

    def __init__(self) -> None:
        self._collect: Callable[..., int] = gc.collect

    def hold(self) -> None:
        gc.disable()
        gc.collect = lambda generation=2: 0  # vLLM asks for it many times while it starts

    def release(self) -> None:
        gc.collect = self._collect
        gc.freeze()
        gc.set_threshold(BETWEEN_LOOKS, *gc.get_threshold()[1:])
        gc.enable()
