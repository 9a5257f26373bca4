"""Whether vLLM can be started fast, and with which flags. Pure, but for a look at the model's folder."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from slipway_runtime.contract.reasons import Reason
from slipway_runtime.engines.engine import Choice, Launch, SecondWay, module

from .adapters import knows
from .news import PREFIX
from .settings import ENVIRONMENT, Settings

NOT_TRIED = (
    *("tensor-parallel-size", "tp", "pipeline-parallel-size", "pp", "data-parallel-size", "dp", "nnodes", "headless"),
    *("distributed-executor-backend", "api-server-count", "enable-elastic-ep", "grpc", "mm-tensor-ipc"),
    *("enable-fault-tolerance", "data-parallel-multi-port-external-lb", "numa-bind", "worker-cls"),
)
"""Flags that make more than one engine core of it, or another server."""
GIB = 1 << 30
GRAPHS = (1, 2, 4, 8, 16, 32, *range(64, 256, 16), *range(256, 513, 32))
"""Batch sizes with a CUDA graph. vLLM's own list has 51, and each takes time at the start; what lies between is padded.

To pad a small batch costs nothing, for it is the weights that are waited for. What is padded of a large one has to be
computed: there the sizes lie close.
"""
GRAPH_FLAGS = {
    *("compilation-config", "O", "cudagraph-capture-sizes", "max-cudagraph-capture-size", "enforce-eager"),
    "performance-mode",
}
LARGEST_CONFIG = 16 << 20  # bytes of it that count; what is larger isn't one
STOP = 10.0  # seconds to end: the server, then the engine core, and what they added to the cache is sealed
MOMENTS = (
    (re.compile(PREFIX + "core has imported torch"), "torch imported"),
    (re.compile(PREFIX + "core has imported vLLM"), "core imported"),
    (re.compile(PREFIX + "core has its configuration"), "core configured"),
    (re.compile(PREFIX + "core has copied"), "weights copied"),
    (re.compile(PREFIX + "core wants the weights"), "weights wanted"),
    (re.compile(PREFIX + "core is ready"), "core ready"),
    (re.compile(PREFIX + "server has imported vLLM"), "server imported"),
    (re.compile(PREFIX + "server waits"), "server waits"),
    (re.compile(PREFIX + "server begins to serve"), "server serves"),
)
FALLS_BACK = re.compile(PREFIX + ".*so vLLM is started the ordinary way")
SURE = frozenset(
    {
        *(Reason.MODEL_NOT_FOUND, Reason.MODEL_ACCESS_DENIED, Reason.MODEL_CORRUPT),
        *(Reason.UNSUPPORTED_ARCHITECTURE, Reason.QUANTIZATION_MISMATCH),
        *(Reason.GPU_UNHEALTHY, Reason.DRIVER_MISMATCH),
    }
)
"""Causes that the ordinary start would end of, too."""
SURE_WITHOUT_FLAGS = frozenset(
    {
        *(Reason.BAD_ENGINE_ARGUMENTS, Reason.CONTEXT_TOO_LONG),
        *(Reason.GPU_BUSY, Reason.GPU_OUT_OF_MEMORY, Reason.HOST_OUT_OF_MEMORY),
    }
)
"""The same, where the fast start adds no flags: those may ask for more memory than there is, or be unknown."""


@dataclass(frozen=True)
class Accelerator:
    name: str
    memory: int


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What the choice depends on, besides the ordinary launch."""

    version: str  # of vLLM
    device: str  # cuda | rocm | cpu
    accelerator: Accelerator | None = None  # the first that may be used
    weights: int = 0  # bytes, as they will lie in memory
    utilization: float = 0.92  # of the accelerator's memory
    cache: Path | None = None
    flags: frozenset[str] = frozenset()  # the names of those that were given
    knows_flag: Callable[[str], bool] = lambda _: True  # whether this vLLM does


def faster(launch: Launch, model: Path, here: Circumstances) -> Launch:
    """The same launch through the launcher; or itself, with the reason why not."""
    if reason := why_not(here):
        return replace(launch, choices=(*launch.choices, Choice("ordinary start", reason)))
    choices = tuple(choice for choice in _flags(here) if here.knows_flag(choice.name))
    weights = files_of(model)
    settings = Settings(
        version=here.version,
        ordinary=launch.command,
        flags=tuple(choice.setting for choice in choices),
        weights=weights,
        copy_weights=_can_copy(here) and bool(weights),
        cache=str(here.cache or ""),
        device=here.accelerator.name if here.accelerator else here.device,
        model=digest_of(model),
    )
    ours = Choice("fast start", "engine core and API server begin side by side")
    return replace(
        launch,
        command=(*module("slipway_runtime.faststart"), *launch.command[len(module("")) :]),
        environment={**launch.environment, ENVIRONMENT: settings.as_json()},
        moments=(*MOMENTS, *launch.moments),
        second_way=SecondWay(FALLS_BACK, SURE if choices else SURE | SURE_WITHOUT_FLAGS),
        stop=STOP,
        choices=(*launch.choices, ours, *choices),
    )


def why_not(here: Circumstances) -> str:
    if not knows(here.version):
        return f"vLLM {here.version or 'of unknown version'} is not one that the fast start has been made for"
    if here.device == "rocm":
        return "the fast start has not been tried with ROCm"
    if not_tried := sorted(here.flags & set(NOT_TRIED)):
        return f"the fast start has not been tried with --{not_tried[0]}"
    return ""


def kv_cache_bytes(memory: int, utilization: float, weights: int) -> int | None:
    """What is left of the share of memory, less what a step needs; None if that is too little to be sure of."""
    left = int(memory * utilization) - weights - max(2 * GIB, memory // 25)
    return left if left >= GIB else None


def _flags(here: Circumstances) -> Iterator[Choice]:
    """Only for GPUs: on CPUs there are no graphs, and the KV cache has a size of its own anyway."""
    if here.device != "cuda":
        return
    if not here.flags & GRAPH_FLAGS:
        sizes = json.dumps({"cudagraph_capture_sizes": GRAPHS}, separators=(",", ":"))
        yield Choice(f"--compilation-config={sizes}", "few graphs are captured, and larger batches are padded little")
    if "kernel-config" not in here.flags:
        yield Choice('--kernel-config={"enable_flashinfer_autotune":false}', "nothing is tuned anew at each start")
    if size := _kv_cache(here):
        yield Choice(f"--kv-cache-memory-bytes={size}", "what the weights leave, computed instead of profiled")
    if size or "kv-cache-memory-bytes" in here.flags:
        yield Choice("--gpu-memory-utilization=0.3", "only a check now, which weights that are there early would fail")


def _kv_cache(here: Circumstances) -> int | None:
    if here.accelerator is None or "kv-cache-memory-bytes" in here.flags:
        return None
    return kv_cache_bytes(here.accelerator.memory, here.utilization, here.weights)


def _can_copy(here: Circumstances) -> bool:
    """A profile of the memory would take the copies for something that stays."""
    sized = _kv_cache(here) is not None or "kv-cache-memory-bytes" in here.flags
    return here.device == "cuda" and sized and "load-format" not in here.flags


def files_of(model: Path) -> tuple[str, ...]:
    """As vLLM names them: an index says which files count."""
    files = sorted(model.glob("*.safetensors"))
    try:
        named = set(json.loads((model / "model.safetensors.index.json").read_text())["weight_map"].values())
    except (OSError, ValueError, KeyError):
        return tuple(map(str, files))
    return tuple(str(file) for file in files if file.name in named)


def digest_of(model: Path) -> str:
    """Of what a compiled model depends on: its configuration, not its weights."""
    digest = hashlib.sha256()
    for config in sorted(model.glob("*config*.json")):
        if config.is_file():
            with config.open("rb") as stream:
                digest.update(os.fsencode(config.name) + b"\0" + stream.read(LARGEST_CONFIG))
    return digest.hexdigest()[:16]
