"""Checks of the model against the engine and its arguments. Whether its files are complete was checked on reading.

Pure, except that adapters' files are read here.
"""

from __future__ import annotations

from slipway_runtime.contract.reasons import Reason
from slipway_runtime.failure import Failure
from slipway_runtime.models import Facts, ModelError, find_adapter, read_adapter
from slipway_runtime.preflight.host import Host
from slipway_runtime.preflight.settings import EngineSettings

# The least compute capability for a quantization, according to vLLM 0.32.
LEAST_CAPABILITY = {
    **dict.fromkeys(("gptq", "gptq_marlin", "auto_gptq", "inc"), (6, 0)),
    **dict.fromkeys(("compressed-tensors", "quark", "moe_wna16"), (7, 0)),
    **dict.fromkeys(("awq", "awq_marlin", "auto_awq", "fp8", "humming", "torchao", "modelopt_fp4"), (7, 5)),
    **dict.fromkeys(("modelopt", "modelopt_mxfp8", "mxfp4", "fbgemm_fp8", "experts_int8"), (8, 0)),
    "fp_quant": (10, 0),
}
SAME = {  # other names for the same method in checkpoints
    **dict.fromkeys(("awq", "awq_marlin", "auto_awq"), "awq"),
    **dict.fromkeys(("gptq", "gptq_marlin", "auto_gptq"), "gptq"),
}
ONLINE = ("fp8", "fp8_per_tensor", "fp8_per_block", "fp8_per_channel", "int8_per_channel_weight_only", "mxfp8")


def architecture_is_known(settings: EngineSettings, facts: Facts, host: Host) -> Failure | None:
    name, support = facts.architecture, host.support
    if name not in support.gone and support.knows_architecture(name):
        return None
    if facts.needs_remote_code:
        return None if settings.remote_code else _needs_remote_code(name)
    version = f"{settings.engine} {support.version}".strip()
    known = f"; it was supported {support.gone[name]}" if name in support.gone else ""
    return Failure(
        Reason.UNSUPPORTED_ARCHITECTURE,
        f"{version} doesn't support the architecture {name}{known}.",
        "Choose another engine or a newer image, or a model of a supported architecture.",
    )


def _needs_remote_code(name: str) -> Failure:
    return Failure(
        Reason.UNSUPPORTED_ARCHITECTURE,
        f"The engine doesn't support the architecture {name}, and may not run the code in the checkpoint.",
        "If you have read that code and trust it, allow trust-remote-code by name.",
    )


def tokenizer_is_there(settings: EngineSettings, facts: Facts, _: Host) -> Failure | None:
    if facts.tokenizer or not settings.needs_tokenizer or facts.needs_remote_code:
        return None
    return Failure(
        Reason.MODEL_CORRUPT,
        f"There is no tokenizer in {facts.path}.",
        "Fetch the complete model: tokenizer.json or tokenizer.model is missing.",
    )


def quantization_is_known(_: EngineSettings, facts: Facts, host: Host) -> Failure | None:
    method, known = facts.quantization, host.support.quantizations
    if facts.format == "gguf" or not method or not known or method in known or method == "nvfp4":
        return None
    return Failure(
        Reason.QUANTIZATION_MISMATCH,
        f"The checkpoint is quantized by {method}, which vLLM {host.support.version} doesn't support.",
        "Take the model in another quantization, such as AWQ, GPTQ or FP8.",
    )


def quantization_is_what_is_asked_for(settings: EngineSettings, facts: Facts, _: Host) -> Failure | None:
    asked, there = settings.quantization, facts.quantization
    if (
        settings.engine != "vllm"
        or not asked
        or asked == there
        or SAME.get(asked, asked) == SAME.get(there or "", there)
    ):
        return None
    if there and (asked in ONLINE or asked in SAME):
        return Failure(
            Reason.QUANTIZATION_MISMATCH,
            f"engine.quantization is {asked}, but the checkpoint is already quantized by {there}.",
            "Leave out engine.quantization, or choose the unquantized model.",
        )
    if not there and asked in SAME:
        return Failure(
            Reason.QUANTIZATION_MISMATCH,
            f"engine.quantization is {asked}, but the checkpoint isn't quantized, and vLLM can't do so while loading.",
            "Choose a checkpoint with that quantization, or FP8, which vLLM applies while it loads.",
        )
    return None


def quantization_runs_on_the_device(settings: EngineSettings, facts: Facts, host: Host) -> Failure | None:
    method = facts.quantization or settings.quantization
    least = LEAST_CAPABILITY.get(method or "")
    if settings.engine != "vllm" or settings.device != "cuda" or not least:
        return None
    for device in host.devices:
        if device.capability and device.capability < least:
            return Failure(
                Reason.QUANTIZATION_MISMATCH,
                f"{method} needs compute capability {_dotted(least)}; {device.name} has {_dotted(device.capability)}.",
                "Choose a newer accelerator, or another quantization.",
            )
    return None


def tensor_parallel_divides(settings: EngineSettings, facts: Facts, _: Host) -> Failure | None:
    tensor, heads = settings.tensor_parallel, facts.shape.attention_heads
    if not heads or heads % tensor == 0:
        return None
    fitting = [number for number in (1, 2, 4, 8, 16) if heads % number == 0 and number <= max(8, tensor)]
    return Failure(
        Reason.BAD_ENGINE_ARGUMENTS,
        f"The model's {heads} attention heads can't be divided by tensor parallelism over {tensor} accelerators.",
        f"Set engine.parallelism.tensor to one of {', '.join(map(str, fitting))}.",
    )


def pipeline_has_layers(settings: EngineSettings, facts: Facts, _: Host) -> Failure | None:
    layers = facts.shape.layers
    if not layers or settings.pipeline_parallel <= layers:
        return None
    return Failure(
        Reason.BAD_ENGINE_ARGUMENTS,
        f"The model's {layers} layers aren't enough for {settings.pipeline_parallel} stages of pipeline parallelism.",
        f"Set engine.parallelism.pipeline to {layers} at most.",
    )


def context_is_within_the_models(settings: EngineSettings, facts: Facts, _: Host) -> Failure | None:
    wanted, own = settings.context_length, facts.shape.context_length
    if settings.engine != "vllm" or settings.long_context or not wanted or not own or wanted <= own:
        return None
    return Failure(
        Reason.CONTEXT_TOO_LONG,
        f"The context length is {wanted} tokens; the model was made for {own}.",
        f"Set engine.contextLength to {own} at most.",
    )


def adapters_fit(settings: EngineSettings, _: Facts, __: Host) -> Failure | None:
    for name, path in settings.adapters.items():
        try:
            adapter = read_adapter(find_adapter(path))
        except ModelError as error:
            found = error.failure
            return Failure(found.reason, f"Adapter {name}: {found.message}", found.remedy)
        if adapter.rank > settings.max_adapter_rank:
            return Failure(
                Reason.BAD_ENGINE_ARGUMENTS,
                f"Adapter {name} has rank {adapter.rank}, and the engine allows {settings.max_adapter_rank}.",
                f"Add --max-lora-rank={adapter.rank} to engine.extraArgs.",
            )
    return None


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


CHECKS = (
    architecture_is_known,
    tokenizer_is_there,
    quantization_is_known,
    quantization_is_what_is_asked_for,
    quantization_runs_on_the_device,
    tensor_parallel_divides,
    pipeline_has_layers,
    context_is_within_the_models,
    adapters_fit,
)
