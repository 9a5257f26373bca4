"""How much memory is in use once the engine is ready: of each device, or of the container on CPUs.

An engine reports what it has planned; what is in use besides that (the driver's context, graphs, libraries), only the
device knows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from slipway_runtime.preflight import amd, nvidia
from slipway_runtime.preflight.host import Device
from slipway_runtime.preflight.machine import CGROUPS, memory_limit

OF_OTHERS = 0.05
"""The share of a device that other programs may have used before the start; with more, what is in use says little of
this engine."""
USED = (("memory.current", "memory.stat", "inactive_file"),)
USED_V1 = (("memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),)

Use = dict[str, object]
"""A name, `total` and `used`."""


def memory_in_use(device: str, before: Sequence[Device] = ()) -> list[Use]:
    """`before`: the devices as they were before the start. Empty where it isn't known."""
    if device == "cpu":
        return list(_of_container())
    if any(each.used > OF_OTHERS * each.usable for each in before):
        return []
    return [{"name": each.name, "total": each.usable, "used": each.used} for each in _devices(device) if each.memory]


def _devices(device: str) -> Sequence[Device]:
    if device == "cuda":
        return nvidia.read_driver(os.environ.get("CUDA_VISIBLE_DEVICES")).devices
    return amd.read_devices() if device == "rocm" else ()


def _of_container(cgroups: Path = CGROUPS) -> Iterator[Use]:
    """As the kubelet counts it: without file pages that the kernel may drop at any time. Weights that are mapped into
    memory and in use are included."""
    total = memory_limit(cgroups)
    for current, stat, droppable in (*USED, *USED_V1):
        used = _number(_text(cgroups / current))
        if used is not None and total:
            pages = dict(line.split() for line in _text(cgroups / stat).splitlines() if len(line.split()) == 2)
            yield {"name": "container", "total": total, "used": max(0, used - (_number(pages.get(droppable, "")) or 0))}
            return


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
