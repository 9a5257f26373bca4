"""Checks of weights and KV cache against the available memory. Pure.

Only what can't possibly fit is refused: only the engine knows what else it needs.
"""

from __future__ import annotations

from slipway_runtime.contract.reasons import Reason
from slipway_runtime.failure import Failure
from slipway_runtime.models import Facts
from slipway_runtime.preflight.host import Device, Host
from slipway_runtime.preflight.settings import AUTO, GIB, EngineSettings

MIB = 1 << 20
HALVED = ("fp8", "fp8_per_tensor", "fp8_per_block", "fp8_per_channel", "int8_per_channel_weight_only", "mxfp8")
KEPT = 0.5  # of the weights, when they are quantized to 8 bits while loading
LARGER_DEVICE = "Choose an accelerator with more memory, more of them (parallelism.tensor), or a quantized model."


def device_memory_is_free(settings: EngineSettings, _: Facts, host: Host) -> Failure | None:
    """vLLM takes its share of the entire memory immediately, and gives up if other processes hold part of it."""
    for device in _used(settings, host):
        wanted = int(device.memory * settings.memory_utilization)
        if settings.engine == "vllm" and device.free_memory < wanted:
            return Failure(
                Reason.GPU_BUSY,
                f"{device.name} (number {device.index}) has {_gib(device.free_memory)} of {_gib(device.memory)} free, "
                f"but the engine would use {_gib(wanted)}: another process holds the rest.",
                "Find that process with nvidia-smi on the node; or lower --gpu-memory-utilization in your own runtime.",
            )
    return None


def weights_fit_the_device(settings: EngineSettings, facts: Facts, host: Host) -> Failure | None:
    weights = loaded_weights(settings, facts) // settings.devices
    for device in _used(settings, host):
        room = int(device.memory * settings.memory_utilization)
        if weights > room:
            each = f" for each of {settings.devices}" if settings.devices > 1 else ""
            return Failure(
                Reason.GPU_OUT_OF_MEMORY,
                f"{_gib(weights)} of weights{each} don't fit into the usable {_gib(room)} of {device.name}.",
                LARGER_DEVICE,
            )
    return None


def context_fits_the_device(settings: EngineSettings, facts: Facts, host: Host) -> Failure | None:
    """Checks the room for one request of full length; if the KV cache has an explicit size, that is the room."""
    tokens = _context(settings, facts)
    needed = _kv_cache(settings, facts, tokens)
    if not tokens or not needed:
        return None
    needed = needed // _kv_shares(settings, facts)
    weights = loaded_weights(settings, facts) // settings.devices
    for device in _used(settings, host):
        room = settings.kv_cache_bytes or int(device.memory * settings.memory_utilization) - weights
        if needed > room:
            return Failure(
                Reason.CONTEXT_TOO_LONG,
                f"One request of {tokens} tokens takes {_gib(needed)} of KV cache on each device, and {device.name} "
                f"has {_gib(max(0, room))} for it.",
                f"Set contextLength to {_rounded(tokens * max(0, room) // needed)} at most, or kvCacheDtype to FP8.",
            )
    return None


def kv_cache_fits_the_device(settings: EngineSettings, facts: Facts, host: Host) -> Failure | None:
    """vLLM allocates a KV cache of explicit size without checking the free memory."""
    weights = loaded_weights(settings, facts) // settings.devices
    for device in _used(settings, host):
        wanted = weights + (settings.kv_cache_bytes or 0)
        if wanted > device.free_memory:
            return Failure(
                Reason.GPU_OUT_OF_MEMORY,
                f"{_gib(weights)} of weights and {_gib(settings.kv_cache_bytes or 0)} of KV cache don't fit into the "
                f"{_gib(device.free_memory)} of {device.name} that are free.",
                LARGER_DEVICE,
            )
    return None


def all_fits_the_memory_limit(settings: EngineSettings, facts: Facts, host: Host) -> Failure | None:
    if settings.device != "cpu" or not host.memory:
        return None
    weights, kv_cache = loaded_weights(settings, facts), _kv_cache_on_cpu(settings, facts)
    if weights + kv_cache <= host.memory:
        return None
    return Failure(
        Reason.HOST_OUT_OF_MEMORY,
        f"{_gib(weights)} of weights and {_gib(kv_cache)} of KV cache don't fit into the {_gib(host.memory)} of memory "
        "that the container may use.",
        "Raise the memory limit in pod.resources, lower engine.contextLength, or take a smaller quantization.",
    )


def loaded_weights(settings: EngineSettings, facts: Facts) -> int:
    """Returns the bytes of the weights in memory: vLLM loads 32-bit ones as 16 bits, and may quantize others while
    loading."""
    weights = facts.weight_bytes
    if settings.engine != "vllm" or facts.quantization:
        return weights
    if facts.dtype == "float32":
        weights //= 2
    return int(weights * KEPT) if settings.quantization in HALVED else weights


def _used(settings: EngineSettings, host: Host) -> tuple[Device, ...]:
    return host.devices[: settings.devices] if settings.device != "cpu" else ()


def _context(settings: EngineSettings, facts: Facts) -> int | None:
    if settings.context_length == AUTO:
        return None
    return settings.context_length or facts.shape.context_length


def _kv_cache(settings: EngineSettings, facts: Facts, tokens: int | None) -> int | None:
    return facts.kv_cache_bytes(tokens, settings.kv_value_bytes) if tokens else None


def _kv_cache_on_cpu(settings: EngineSettings, facts: Facts) -> int:
    if settings.kv_cache_bytes:
        return settings.kv_cache_bytes
    return (_kv_cache(settings, facts, _context(settings, facts)) or 0) * settings.parallel


def _kv_shares(settings: EngineSettings, facts: Facts) -> int:
    """Returns how many devices share a request's KV cache: no more than there are heads, and latent attention has only
    one."""
    heads = 1 if facts.shape.latent_size else facts.shape.kv_heads or 1
    return min(settings.tensor_parallel, heads) * settings.pipeline_parallel


def _rounded(tokens: int) -> int:
    return tokens - tokens % 256 if tokens > 256 else max(1, tokens)


def _gib(count: int) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB // 10 else f"{count / MIB:.1f} MiB"


CHECKS = (
    weights_fit_the_device,
    device_memory_is_free,
    context_fits_the_device,
    kv_cache_fits_the_device,
    all_fits_the_memory_limit,
)
