"""Whether vLLM can be started fast, and with which flags. Pure, except that it reads the model's folder."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from slipway_runtime.contract.reasons import Reason
from slipway_runtime.engines.engine import Choice, Launch, SecondWay, module
from slipway_runtime.engines.planned import NOTHING, PlannedMemory
from slipway_runtime.faststart.adapters import adapter_for, knows
from slipway_runtime.faststart.child_messages import PREFIX
from slipway_runtime.faststart.settings import ENVIRONMENT, FastStartSettings

NOT_TRIED = (
    *("tensor-parallel-size", "tp", "pipeline-parallel-size", "pp", "data-parallel-size", "dp", "nnodes", "headless"),
    *("distributed-executor-backend", "api-server-count", "enable-elastic-ep", "grpc", "mm-tensor-ipc"),
    *("enable-fault-tolerance", "data-parallel-multi-port-external-lb", "numa-bind", "worker-cls"),
)
"""Flags that lead to more than one engine core, or to another server."""
GRAPHS = (1, 2, 4, 8, 16, 32, *range(64, 256, 16), *range(256, 513, 32))
"""Batch sizes with a CUDA graph. vLLM's own list has 51, and each takes time at the start; batches in between are
padded.

Padding a small batch costs nothing, because it waits for the weights. Padding of a large one has to be computed, so the
sizes are closer there.
"""
GRAPH_FLAGS = {
    *("compilation-config", "O", "cudagraph-capture-sizes", "max-cudagraph-capture-size", "enforce-eager"),
    "performance-mode",
}
DRAFT_FLAGS = frozenset({"speculative-config", "sc", "spec-method", "spec-model", "spec-tokens"})
STOP = 10.0  # seconds to end: the server, then the engine core
MOMENTS = (
    (re.compile(PREFIX + "core has imported torch"), "torch imported"),
    (re.compile(PREFIX + "core has imported vLLM"), "core imported"),
    (re.compile(PREFIX + "core has its configuration"), "core configured"),
    (re.compile(PREFIX + "core has copied"), "weights copied"),
    (re.compile(PREFIX + "core wants the weights"), "weights wanted"),
    (re.compile(PREFIX + "core is ready"), "core ready"),
    (re.compile(PREFIX + "server has imported vLLM"), "server imported"),
    (re.compile(PREFIX + "server waits"), "server waits"),
    (re.compile(PREFIX + "server starts to serve"), "server serves"),
)
FALLS_BACK = re.compile(PREFIX + ".*so vLLM is started the ordinary way")
SURE = frozenset(
    {
        *(Reason.MODEL_NOT_FOUND, Reason.MODEL_ACCESS_DENIED, Reason.MODEL_CORRUPT),
        *(Reason.UNSUPPORTED_ARCHITECTURE, Reason.QUANTIZATION_MISMATCH),
        *(Reason.GPU_UNHEALTHY, Reason.DRIVER_MISMATCH),
    }
)
"""Causes that would end the ordinary start, too."""
SURE_WITHOUT_FLAGS = frozenset(
    {
        *(Reason.BAD_ENGINE_ARGUMENTS, Reason.CONTEXT_TOO_LONG),
        *(Reason.GPU_BUSY, Reason.GPU_OUT_OF_MEMORY, Reason.HOST_OUT_OF_MEMORY),
    }
)
"""More of them, where the fast start adds no flags: those may need more memory than there is, or be unknown to vLLM."""


SIZED_BY_HAND = frozenset({"kv-cache-memory-bytes", "num-gpu-blocks-override"})
SHARE_BY_HAND = frozenset({"gpu-memory-utilization", "device-memory-utilization"})


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What the decision depends on besides the ordinary launch."""

    version: str  # of vLLM
    device: str  # cuda | rocm | cpu
    accelerator: str = ""  # the first that may be used
    weights: int = 0  # bytes of one device, as they will be in memory
    planned: PlannedMemory = NOTHING
    sequences: int | None = None  # that run at a time; None: vLLM's default
    flags: frozenset[str] = frozenset()  # names of those that the user gave
    knows_flag: Callable[[str], bool] = lambda _: True  # whether this vLLM has it


def faster(launch: Launch, model: Path, here: Circumstances) -> Launch:
    """Returns the same launch through the launcher; or unchanged, with the reason why not."""
    if reason := why_not(here):
        return replace(launch, choices=(*launch.choices, Choice("ordinary start", reason), *_measured(here)))
    choices = tuple(choice for choice in _flags(here) if here.knows_flag(choice.name))
    weights = files_of(model)
    settings = FastStartSettings(
        version=here.version,
        ordinary=launch.command,
        flags=tuple(choice.setting for choice in choices),
        weights=weights,
        copy_weights=_can_copy(here) and bool(weights),
        device=here.accelerator or here.device,
    )
    ours = Choice("fast start", "engine core and API server start in parallel")
    return replace(
        launch,
        command=(*module("slipway_runtime.faststart"), *launch.command[len(module("")) :]),
        environment={**launch.environment, ENVIRONMENT: settings.as_json()},
        moments=(*MOMENTS, *launch.moments),
        second_way=SecondWay(FALLS_BACK, SURE if choices else SURE | SURE_WITHOUT_FLAGS),
        stop=STOP,
        choices=(*launch.choices, ours, *choices, *_measured(here)),
    )


def flags_of(launch: Launch) -> tuple[str, ...]:
    """Returns all flags that the engine gets, with those that the fast start adds."""
    added = FastStartSettings.from_environment(launch.environment).flags if ENVIRONMENT in launch.environment else ()
    return (*launch.command[len(module("")) :], *added)


def variables_of(launch: Launch, version: str, device: str) -> dict[str, str]:
    """Returns the adapter's variables that aren't set: without some, this vLLM can't load what it has compiled."""
    wanted = adapter_for(version).environment(device) if knows(version) else {}
    return {name: value for name, value in wanted.items() if name not in launch.environment}


def why_not(here: Circumstances) -> str:
    if not knows(here.version):
        return f"the fast start has no adapter for vLLM {here.version or 'of unknown version'}"
    if here.device == "rocm":
        return "the fast start was never tried with ROCm"
    if not_tried := sorted(here.flags & set(NOT_TRIED)):
        return f"the fast start was never tried with --{not_tried[0]}"
    return ""


def kv_cache_bytes(here: Circumstances) -> int | None:
    """Returns the planned size, where the fast start uses it; None: vLLM measures, or was given another size."""
    if why_not(here) or here.device != "cuda" or here.flags & SIZED_BY_HAND or why_measured(here):
        return None
    return here.planned.kv_cache


def why_measured(here: Circumstances) -> str:
    """Returns why the plan's size of the KV cache isn't used; empty if it may be."""
    if given := sorted(here.flags & SHARE_BY_HAND):
        return f"--{given[0]} was given, so the size is what is left of that share of the memory"
    return here.planned.why_void(here.weights)


def _measured(here: Circumstances) -> Iterator[Choice]:
    """Yields what it means that vLLM measures, on devices: on CPUs the size is a variable."""
    if here.device == "cpu" or here.flags & SIZED_BY_HAND or kv_cache_bytes(here) is not None:
        return
    if why_not(here) and here.planned.kv_cache is None:
        return  # the ordinary start is vLLM's own anyway
    why = why_measured(here) or "only the fast start uses the plan's size"
    yield Choice("KV cache measured by vLLM", f"{why}; so weights are not copied to the device before that")


def _flags(here: Circumstances) -> Iterator[Choice]:
    """Yields flags for GPUs only: on CPUs there are no graphs, and the KV cache has an explicit size anyway."""
    if here.device != "cuda":
        return
    if not here.flags & GRAPH_FLAGS:
        sizes = json.dumps({"cudagraph_capture_sizes": graph_sizes(here)}, separators=(",", ":"))
        yield Choice(f"--compilation-config={sizes}", "fewer graphs are captured, at sizes where padding costs little")
    if "kernel-config" not in here.flags:
        yield Choice(
            '--kernel-config={"enable_flashinfer_autotune":false}', "kernels are not tuned again at each start"
        )
    if size := kv_cache_bytes(here):
        yield Choice(f"--kv-cache-memory-bytes={size}", "as planned, so that vLLM doesn't have to measure it")
    if size or "kv-cache-memory-bytes" in here.flags:
        yield Choice(
            "--gpu-memory-utilization=0.3", "now only a check, which would fail because the weights are already there"
        )


def graph_sizes(here: Circumstances) -> tuple[int, ...]:
    """Returns no larger sizes than vLLM itself would choose: twice the sequences that run at a time, with that number
    among them. Larger ones would take time and memory that no plan counts on. With a draft, a sequence has more tokens
    in a step."""
    if here.sequences is None or here.flags & DRAFT_FLAGS:
        return GRAPHS
    fitting = {each for each in GRAPHS if each <= 2 * here.sequences}
    return tuple(sorted({*fitting, min(here.sequences, GRAPHS[-1])}))


def _can_copy(here: Circumstances) -> bool:
    """Returns whether weights can be copied early: a memory profile would take the copies for a permanent use."""
    sized = kv_cache_bytes(here) is not None or "kv-cache-memory-bytes" in here.flags
    return here.device == "cuda" and sized and "load-format" not in here.flags


def files_of(model: Path) -> tuple[str, ...]:
    """Returns the weight files as vLLM selects them: an index says which ones count."""
    files = sorted(model.glob("*.safetensors"))
    try:
        named = set(json.loads((model / "model.safetensors.index.json").read_text())["weight_map"].values())
    except (OSError, ValueError, KeyError):
        return tuple(map(str, files))
    return tuple(str(file) for file in files if file.name in named)
