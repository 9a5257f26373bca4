"""llama.cpp in our own image: the spec as the options of `slipway-runtime serve llamacpp`.

It serves the model under any name, keeps the work done for a prompt's beginning by itself, and reads from the GGUF
file how the weights are quantized.
"""

from __future__ import annotations

from slipway.api.llmdeployment import LLMDeployment
from slipway.planning import Plan
from slipway.rendering.engines.engine import Engine, flag, refuse_unknown

# Requests at a time, where the spec names no number: the fewer share the processors, the sooner each is finished.
# Balanced is the runtime's own default.
SLOTS = {"Latency": 1, "Balanced": None, "Throughput": 8}


def arguments(deployment: LLMDeployment, _: Plan) -> list[str]:
    spec = deployment.spec.engine
    refuse_unknown("llamacpp", spec, "kv_cache_dtype", "prefix_caching", "speculative", "adapters")
    return [
        *flag("context-length", spec.context_length),
        *flag("parallel", spec.max_concurrency or SLOTS[spec.mode]),
        *spec.extra_args,
    ]


ENGINE = Engine(name="llamacpp", model_format="gguf", arguments=arguments)
