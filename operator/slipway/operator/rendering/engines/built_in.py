"""An engine that Slipway builds in: the spec as options of `slipway-runtime serve`, and after `--` as the engine's own.

Its engine.yaml says which option carries which field. Model, address and port are in the runtime's manifest, and
slipway-runtime itself knows what a mode means for a device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from slipway.api.engine import EngineSpec
from slipway.api.llmdeployment import LLMDeployment, LLMDeploymentSpec
from slipway.api.units import about, seconds
from slipway.contract import engine as contract
from slipway.contract.pod import KEYS_FOLDER
from slipway.contract.tasks import Task
from slipway.operator.planning import Plan
from slipway.operator.planning.engines import CPU
from slipway.operator.planning.tasks import AUTO
from slipway.operator.rendering.desired import UnrenderableError
from slipway.operator.rendering.engines.engine import RenderedEngine, won

Code = Mapping[str, Callable[[EngineSpec], list[str]]]
"""By the name that engine.yaml gives as `code`: writes the options of one field."""

KV_CACHE_OF_CPUS = "VLLM_CPU_KVCACHE_SPACE"  # vLLM's own variable; slipway-runtime leaves one that is set
FIELDS = {f"engine.{info.alias}": field for field, info in EngineSpec.model_fields.items()}


def engine(known: contract.Engine, code: Code) -> RenderedEngine:
    return RenderedEngine(
        name=known.name,
        model_format=known.model_format,
        arguments=partial(_arguments, known, code),
        environment=partial(_environment, known),
        ignored=partial(_won_by_hand, known, code),
    )


def _arguments(known: contract.Engine, code: Code, deployment: LLMDeployment, plan: Plan) -> list[str]:
    _refuse_unknown(known, deployment.spec.engine)
    options = [*_options(known, code, deployment.spec.engine, plan)]
    ours, own = ([], options) if known.options_are_its_own else (options, [])
    own = [*own, *deployment.spec.engine.extra_args]
    of_runtime = [*_of_runtime(deployment, plan), *_planned(known, plan)]
    return [*of_runtime, *ours, *(["--", *own] if own else [])]


def _options(known: contract.Engine, code: Code, spec: EngineSpec, plan: Plan) -> Iterator[str]:
    planned = {
        "engine.contextLength": plan.context_length or spec.context_length,
        "engine.maxConcurrency": plan.max_concurrency,
        "engine.parallelism.tensor": plan.tensor if plan.tensor > 1 else None,
        "engine.parallelism.pipeline": plan.pipeline if plan.pipeline > 1 else None,
    }
    for field, option in known.options.items():
        if option.code:
            yield from code[option.code](spec)
        else:
            yield from _option(option, planned[field] if field in planned else getattr(spec, FIELDS[field]))
    if known.memory_share and plan.memory_share is not None:
        yield f"{known.memory_share}={plan.memory_share}"


def _option(option: contract.Option, value: object | None) -> list[str]:
    if option.if_true:
        return [option.if_true if value else option.if_false]
    if option.values is not None:
        value = option.values.get(str(value))
    return [] if value is None else [f"{option.flag}={value}"]


def _planned(known: contract.Engine, plan: Plan) -> list[str]:
    """The size of the KV cache, and of the weights next to which it was computed to fit. Without the one, the engine
    measures what is left, and the other is of no use."""
    if plan.kv_cache_bytes is None:
        return []
    values = {"kvCache": plan.kv_cache_bytes, "weights": plan.weights_bytes}
    return [f"{option}={values[what]}" for what, option in known.planned.items() if values[what] is not None]


def _of_runtime(deployment: LLMDeployment, plan: Plan) -> list[str]:
    """The options of `slipway-runtime serve` that all engines share."""
    spec, tracing = deployment.spec, deployment.spec.observability.tracing
    limit = spec.access.rate_limit
    return [
        *_flag("served-name", deployment.served_name),
        *_flag("task", _task(spec, plan)),
        *_flag("mode", spec.engine.mode if spec.engine.mode != EngineSpec().mode else None),
        *_flag("tool-calls", spec.engine.tool_calls if spec.engine.tool_calls != "Auto" else None),
        *_flag("reasoning", spec.engine.reasoning if spec.engine.reasoning != "Auto" else None),
        *_flag("drain-limit", math.ceil(seconds(spec.rollout.drain_timeout))),
        *_flag("start-timeout", plan.start_limit),
        *_flag("api-keys", KEYS_FOLDER if spec.access.api_keys_secret else None),
        *_flag("requests-per-minute", limit.requests_per_minute if limit else None),
        *_flag("tokens-per-minute", limit.tokens_per_minute if limit else None),
        *_flag("traces-endpoint", tracing.endpoint if tracing else None),
        *_flag("traces-sample-ratio", tracing.sample_ratio if tracing else None),
    ]


def _task(spec: LLMDeploymentSpec, plan: Plan) -> str | None:
    """As the spec or the plan has it. That an architecture generates text isn't the last word: a model that was made of
    it for embeddings has files by which the pod sees it."""
    if spec.model.task != AUTO:
        return spec.model.task
    return None if plan.task in ("", Task.GENERATE) else plan.task


def _flag(name: str, value: object | None) -> list[str]:
    """`--name=value`, or nothing if there is no value."""
    return [] if value is None else [f"--{name}={value}"]


def _won_by_hand(known: contract.Engine, code: Code, spec: LLMDeploymentSpec, plan: Plan) -> list[str]:
    """A sentence for each option that the spec sets by hand, too: the engine uses the last one."""
    ours = [*_options(known, code, spec.engine, plan)] if known.options_are_its_own else []
    found = [f"engine.extraArgs: {theirs} wins over {own}." for theirs, own in won(spec.engine.extra_args, ours)]
    space = next((each for each in spec.pod.env if each.name == KV_CACHE_OF_CPUS), None)
    if known.planned and plan.vendor == CPU and plan.kv_cache_bytes is not None and space:
        found.append(f"pod.env: {space.name} wins over the plan's KV cache of {about(plan.kv_cache_bytes)}.")
    return found


def _environment(known: contract.Engine, deployment: LLMDeployment, _: Plan) -> dict[str, str]:
    """Under which service name slipway-runtime and the engine send spans, and the engine's own variables."""
    metadata = deployment.metadata
    traces = {
        "OTEL_SERVICE_NAME": metadata.name,
        "OTEL_RESOURCE_ATTRIBUTES": f"service.namespace={metadata.namespace},k8s.namespace.name={metadata.namespace}",
    }
    return {**(traces if deployment.spec.observability.tracing else {}), **known.environment}


def _refuse_unknown(known: contract.Engine, spec: EngineSpec) -> None:
    """Refuses fields that the engine can't carry out; a field with its default value asks for nothing."""
    defaults = EngineSpec()
    asked = [each for each in known.refuses if getattr(spec, FIELDS[each]) != getattr(defaults, FIELDS[each])]
    if asked:
        raise UnrenderableError(
            f"{known.name} can't carry out {', '.join(asked)}: leave it out, or choose another engine."
        )
