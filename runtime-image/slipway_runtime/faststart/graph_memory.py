"""Keeps freed memory while CUDA graphs are captured.

torch empties its allocator's cache before each graph. vLLM captures a graph for each piece between two attention
layers and for each batch size, so the cache is emptied hundreds of times, each time the device is waited for, and what
the next pass needs is requested from the driver again. Here it is emptied once at the end.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from slipway_runtime.faststart.adapters.parts import CaptureParts


def keep_while_capturing(parts: CaptureParts) -> None:
    """Replaces the worker's method that captures all graphs."""
    capture_all = parts.worker.compile_or_warm_up_model

    @functools.wraps(capture_all)
    def compile_or_warm_up_model(self: Any) -> Any:
        try:
            with kept(parts.torch):
                return capture_all(self)
        finally:
            parts.torch.cuda.empty_cache()
            parts.torch._C._host_emptyCache()

    parts.worker.compile_or_warm_up_model = compile_or_warm_up_model


@contextmanager
def kept(torch: Any) -> Iterator[None]:
    """Of the host's pinned memory, the same."""
    empty, empty_of_host = torch.cuda.empty_cache, torch._C._host_emptyCache
    torch.cuda.empty_cache = torch._C._host_emptyCache = lambda: None
    try:
        yield
    finally:
        torch.cuda.empty_cache, torch._C._host_emptyCache = empty, empty_of_host
