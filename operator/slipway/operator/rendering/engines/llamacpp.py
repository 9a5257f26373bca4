"""llama.cpp in our own image: the spec as the options of `slipway-runtime serve llamacpp`.

It keeps the work done for a prompt's beginning by itself, and reads from the GGUF file how the weights are quantized.
What comes after `--` are llama.cpp's own parameters.
"""

from __future__ import annotations

from slipway.api.llmdeployment import LLMDeployment
from slipway.operator.planning import Plan
from slipway.operator.rendering.engines.engine import Engine, flag, of_runtime, refuse_unknown, who_traces


def arguments(deployment: LLMDeployment, plan: Plan) -> list[str]:
    spec = deployment.spec.engine
    refuse_unknown("llamacpp", spec, "kv_cache_dtype", "prefix_caching", "speculative", "adapters", "media_domains")
    return [
        *of_runtime(deployment),
        *flag("context-length", spec.context_length),
        *flag("parallel", plan.max_concurrency),
        *(["--", *spec.extra_args] if spec.extra_args else []),
    ]


ENGINE = Engine(name="llamacpp", model_format="gguf", arguments=arguments, environment=who_traces)
