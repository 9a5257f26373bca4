"""What the operator's plan says of a device's memory, and whether it holds for the files that are there. Pure."""

from __future__ import annotations

from dataclasses import dataclass

GIB = 1 << 30
OTHER_FILES = 1.05
"""Weights take up to a few percent more in memory than in their files. Files that are larger than the planned weights
by more than this are those of another checkpoint: another revision, or one that isn't quantized as planned."""


@dataclass(frozen=True)
class PlannedMemory:
    """In bytes of one device; for CPUs, of the container."""

    kv_cache: int | None = None  # None: nothing was planned
    weights: int | None = None  # next to which the KV cache was computed to fit; None: unknown

    def why_void(self, weights: int) -> str:
        """Why the size of the KV cache can't be used, if the files have these weights; empty if it can."""
        if self.kv_cache is None:
            return "no plan gives its size"
        if self.weights is not None and weights > self.weights * OTHER_FILES:
            return f"its size was planned next to {_gib(self.weights)} of weights, and the files have {_gib(weights)}"
        return ""


NOTHING = PlannedMemory()


def _gib(count: int) -> str:
    return f"{count / GIB:.1f} GiB"
