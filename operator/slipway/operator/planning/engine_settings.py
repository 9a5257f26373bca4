"""The engine's settings on a device, as far as they decide about memory and speed: the spec's, else its defaults. Pure.

The defaults of vLLM are those of `engine/arg_utils.py` for a server. A flag in extraArgs wins, as it does in vLLM.
"""

from __future__ import annotations

from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.llmdeployment import LLMDeploymentSpec
from slipway.models.facts import Model
from slipway.operator.planning.concurrency import batched_by_spec, concurrency, is_large, of_whole_device
from slipway.operator.planning.engine_flags import has, whole
from slipway.operator.planning.engines import CPU
from slipway.operator.planning.memory.settings import Settings

MOST_GRAPHS = 512
LARGEST = 160 * 2**30  # bytes of memory, from which on vLLM takes its largest steps
BATCHED, BATCHED_ON_LARGE, BATCHED_ON_LARGEST, BATCHED_ON_CPUS = 2048, 8192, 16384, 2048
BATCHED_FOR_LATENCY = 2048  # slipway-runtime sets it for mode Latency
MOST_ADAPTERS_AT_ONCE = 8  # as rendering/engines/vllm.py gives --max-loras
KV_BITS = {"FP8": 8.0, "Q8": 8.5, "Q4": 4.5}
WEIGHT_BITS = {"FP8": 8}
UNPLANNED = (
    *(
        "dtype",
        "load-format",
        "hf-overrides",
        "config-format",
        "cpu-offload-gb",
        "cpu-offload-params",
        "offload-backend",
    ),
    *("disable-hybrid-kv-cache-manager", "enable-expert-parallel", "language-model-only", "kv-cache-dtype-skip-layers"),
    *("decode-context-parallel-size", "dcp", "prefill-context-parallel-size", "pcp", "num-gpu-blocks-override"),
    *("compilation-config", "O", "additional-config", "model-loader-extra-config", "limit-mm-per-prompt"),
)


def settings_for(
    spec: LLMDeploymentSpec,
    profile: AcceleratorProfile,
    *,
    tensor: int,
    pipeline: int,
    draft: Model | None = None,
) -> Settings:
    engine, flags = spec.engine, spec.engine.extra_args
    batched = batched_by_spec(spec) or _batched(spec, profile, devices=tensor * pipeline)
    sequences = min(concurrency(spec, profile, devices=tensor * pipeline) or batched, batched)
    speculative, is_on_cpus = engine.speculative, profile.spec.vendor == CPU
    return Settings(
        sequences=sequences,
        batched_tokens=batched,
        tensor=tensor,
        pipeline=pipeline,
        kv_bits=KV_BITS.get(engine.kv_cache_dtype, 16.0),
        weight_bits=WEIGHT_BITS.get(engine.quantization),
        block_size=whole(flags, "block-size") or (128 if is_on_cpus else 16),
        latent_block_size=whole(flags, "block-size") or 16,
        batches_in_flight=1 if is_on_cpus else None,
        largest_graph=_largest_graph(flags, sequences),
        adapters=min(len(engine.adapters), whole(flags, "max-loras") or MOST_ADAPTERS_AT_ONCE),
        adapter_rank=whole(flags, "max-lora-rank") or 16,
        prefix_caching=engine.prefix_caching,
        is_drafting=speculative is not None and speculative.method == "ngram",
        draft=draft,
    )


def unplanned_flags(spec: LLMDeploymentSpec) -> list[str]:
    """Flags of extraArgs that change the memory in ways that aren't planned."""
    return [f"--{name}" for name in UNPLANNED if has(spec.engine.extra_args, name)]


def _batched(spec: LLMDeploymentSpec, profile: AcceleratorProfile, *, devices: int) -> int:
    if spec.engine.mode == "Latency":
        return BATCHED_FOR_LATENCY
    return _usual_batch(profile, devices) * (2 if spec.engine.mode == "Throughput" else 1)


def _usual_batch(profile: AcceleratorProfile, devices: int) -> int:
    if profile.spec.vendor == CPU:
        return BATCHED_ON_CPUS * devices
    if of_whole_device(profile) >= LARGEST:
        return BATCHED_ON_LARGEST
    return BATCHED_ON_LARGE if is_large(profile) else BATCHED


def _largest_graph(flags: list[str], sequences: int) -> int:
    if has(flags, "enforce-eager"):
        return 0
    return whole(flags, "max-cudagraph-capture-size") or min(2 * sequences, MOST_GRAPHS)
