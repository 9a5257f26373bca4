"""vLLM in our own images: options of `slipway-runtime serve vllm`, then after `--` vLLM's own flags.

Model, address and port are in the runtime's manifest; what a mode means for a device, the runtime knows.
"""

from __future__ import annotations

import json

from slipway.api.engine import EngineSpec, SpeculativeSpec
from slipway.api.llmdeployment import LLMDeployment
from slipway.operator.planning import Plan
from slipway.operator.rendering.engines.engine import Engine, flag, of_runtime, who_traces
from slipway.operator.rendering.storage import DRAFT_FOLDER, adapter_folder

# FP8 is the one that vLLM can do itself while it loads. The others lie in the checkpoint, which names them; told of
# them, vLLM would take just the kernel of that name instead of the fastest one.
QUANTIZATION = {"FP8": "fp8"}

KV_CACHE_DTYPE = {"FP8": "fp8", "FP16": "float16", "BF16": "bfloat16"}
SPECULATION = {"ngram": "ngram", "eagle3": "eagle3", "draft": "draft_model"}
NOWHERE = "/"  # no URL has such a host; one that merely isn't there could be made, in the pod's own DNS domain
MOST_ADAPTERS_AT_ONCE = 8  # in one batch; each takes memory of the accelerator


def arguments(deployment: LLMDeployment, plan: Plan) -> list[str]:
    spec = deployment.spec.engine
    return [
        *of_runtime(deployment),
        "--",
        *flag("max-model-len", spec.context_length),
        *flag("max-num-seqs", plan.max_concurrency),
        *flag("quantization", QUANTIZATION.get(spec.quantization)),
        *flag("kv-cache-dtype", KV_CACHE_DTYPE.get(spec.kv_cache_dtype)),
        "--enable-prefix-caching" if spec.prefix_caching else "--no-enable-prefix-caching",
        *flag("speculative-config", _speculation(spec.speculative)),
        *_adapters(spec),
        *_media(spec),
        *flag("tensor-parallel-size", plan.tensor if plan.tensor > 1 else None),
        *flag("pipeline-parallel-size", plan.pipeline if plan.pipeline > 1 else None),
        *spec.extra_args,
    ]


def _speculation(spec: SpeculativeSpec | None) -> str | None:
    if spec is None:
        return None
    model = {"model": DRAFT_FOLDER} if spec.model else {}
    settings = {"method": SPECULATION[spec.method], **model, "num_speculative_tokens": spec.tokens}
    return json.dumps(settings, separators=(",", ":"))


def _adapters(spec: EngineSpec) -> list[str]:
    if not spec.adapters:
        return []
    modules = [f"{adapter.name}={adapter_folder(adapter.name)}" for adapter in spec.adapters]
    at_once = min(len(spec.adapters), MOST_ADAPTERS_AT_ONCE)
    return ["--enable-lora", f"--max-loras={at_once}", "--lora-modules", *modules]


def _media(spec: EngineSpec) -> list[str]:
    """From where it fetches what requests name by a URL. Told of no host, vLLM would fetch from all."""
    return ["--allowed-media-domains", *(spec.media_domains or [NOWHERE])]


def environment(deployment: LLMDeployment) -> dict[str, str]:
    """A host of the list could else lead vLLM to any other."""
    return {**who_traces(deployment), "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0"}


ENGINE = Engine(name="vllm", model_format="huggingface", arguments=arguments, environment=environment)
