"""How many requests a replica processes concurrently.

One number for all: the engine gets it as a flag, the activator sends a replica no more, and autoscaling uses it.
Where the spec leaves it open, it is the engine's own default.
"""

from __future__ import annotations

from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.llmdeployment import LLMDeploymentSpec
from slipway.api.units import amount
from slipway.contract.engines import ENGINES, VLLM
from slipway.operator.planning.engine_flags import has, whole
from slipway.operator.planning.engines import CPU

LARGE = 70 * 2**30  # bytes of memory, from which on vLLM treats a newer GPU as a large one
ON_LARGE, ON_OTHERS, ON_CPUS = 1024, 256, 128
BATCHED_TOKENS = "max-num-batched-tokens"


def concurrency(spec: LLMDeploymentSpec, profile: AcceleratorProfile | None, *, devices: int = 1) -> int | None:
    """None: the spec leaves it open, and only the engine knows."""
    if spec.engine.max_concurrency:
        return spec.engine.max_concurrency
    engine = ENGINES.get(spec.engine.name)
    if engine and engine.concurrency:
        return engine.concurrency[spec.engine.mode]
    return _of_vllm(spec, profile, devices) if engine is VLLM and profile else None


def why_so_many(spec: LLMDeploymentSpec, count: int | None) -> tuple[str, ...]:
    """A sentence, where the spec leaves it open."""
    if count is None or spec.engine.max_concurrency:
        return ()
    requests = "1 request" if count == 1 else f"{count} requests"
    return (
        f"A replica works on {requests} at a time, which is the default of {spec.engine.name} here in mode "
        f"{spec.engine.mode}; engine.maxConcurrency sets another number.",
    )


def is_large(profile: AcceleratorProfile) -> bool:
    """Whether vLLM takes larger steps on it: newer devices with much memory."""
    return "fp8" in profile.spec.features and of_whole_device(profile) >= LARGE


def of_whole_device(profile: AcceleratorProfile) -> int:
    """Bytes of memory, as vLLM looks at them for its defaults: also of a device that replicas share."""
    return int(amount(profile.spec.memory)) * profile.spec.shared_by


def _of_vllm(spec: LLMDeploymentSpec, profile: AcceleratorProfile, devices: int) -> int | None:
    """As `_set_default_max_num_seqs_and_batched_tokens_args` of vLLM 0.32: never more than tokens in a batch, which
    would be refused."""
    on_devices = ON_LARGE if is_large(profile) else ON_OTHERS
    count = ON_CPUS * devices if profile.spec.vendor == CPU else on_devices
    count *= 2 if spec.engine.mode == "Throughput" else 1
    batched = batched_by_spec(spec)
    if batched:
        return min(count, batched)
    return None if has(spec.engine.extra_args, BATCHED_TOKENS) else count


def batched_by_spec(spec: LLMDeploymentSpec) -> int | None:
    """Tokens of one step, where the spec sets them: the engine uses a flag of extraArgs instead of the field."""
    if has(spec.engine.extra_args, BATCHED_TOKENS):
        return whole(spec.engine.extra_args, BATCHED_TOKENS)
    return spec.engine.max_batched_tokens
