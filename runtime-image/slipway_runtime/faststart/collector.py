"""Python's garbage collector during a start: little of what is made then is garbage, and to look costs seconds."""

from __future__ import annotations

import gc
from collections.abc import Callable


class Collector:
    """Off from the start; on again, without all that is there by then, when the start is over."""

    def __init__(self) -> None:
        self._collect: Callable[..., int] = gc.collect

    def hold(self) -> None:
        gc.disable()
        gc.collect = lambda generation=2: 0  # vLLM asks for it many times while it starts

    def release(self) -> None:
        gc.collect = self._collect
        gc.freeze()
        gc.enable()
