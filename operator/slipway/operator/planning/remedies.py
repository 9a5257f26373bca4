"""The smallest changes of the spec that make a model fit where it doesn't. Pure.

Each one is tried, not guessed: what is named here has been planned with the change, and fits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from slipway.api.llmdeployment import LLMDeploymentSpec
from slipway.contract.engines import VLLM
from slipway.models.facts import Model
from slipway.operator.planning.candidates import Candidate, why_not
from slipway.operator.planning.engines import CPU
from slipway.operator.planning.fitting import Fit, Misfit, fit
from slipway.operator.planning.memory.settings import GIB, Settings
from slipway.operator.planning.supply import Supply
from slipway.operator.planning.words import gib, joined, number

LEAST_LENGTH = 256  # tokens: no shorter context is proposed
FEWER_REQUESTS = 64


def needs(spec: LLMDeploymentSpec, misfit: Misfit, model: Model, supply: Supply, *, draft: Model | None = None) -> str:
    """`needs 3.1 GiB more: quantization FP8, or contextLength ≤ 6,144`."""
    found = list(changes(spec, misfit, model, supply, draft=draft))
    each = " per device" if misfit.candidate.devices > 1 else ""
    return f"needs {gib(misfit.missing)} more{each}" + (f": {joined(found)}" if found else "")


def changes(
    spec: LLMDeploymentSpec, misfit: Misfit, model: Model, supply: Supply, *, draft: Model | None = None
) -> Iterator[str]:
    """Each of them alone is enough."""
    candidate, settings, engine = misfit.candidate, misfit.settings, spec.engine
    if engine.name == VLLM.name and candidate.profile.spec.vendor != CPU:
        if engine.quantization == "None" and model.quantization is None:
            smaller = replace(settings, weight_bits=8)
            fp8 = _with(spec, quantization="FP8")
            if not why_not(fp8, candidate, model, supply) and _fits(fp8, candidate, model, smaller):
                yield "engine.quantization: FP8"
        if engine.kv_cache_dtype == "Auto":
            fp8, smaller = _with(spec, kv_cache_dtype="FP8"), replace(settings, kv_bits=8)
            if not why_not(fp8, candidate, model, supply) and _fits(fp8, candidate, model, smaller):
                yield "engine.kvCacheDtype: FP8"
        fewer = replace(settings, sequences=FEWER_REQUESTS, largest_graph=min(settings.largest_graph, 128))
        if settings.sequences > FEWER_REQUESTS and _fits(spec, candidate, model, fewer):
            yield f"engine.maxConcurrency: {FEWER_REQUESTS}"
    if misfit.longest >= LEAST_LENGTH:
        yield f"engine.contextLength ≤ {number(misfit.longest // LEAST_LENGTH * LEAST_LENGTH)}"
    if tensor := _larger_tensor(spec, candidate, model, supply, draft):
        yield f"engine.parallelism.tensor: {tensor}"
    if limit := _larger_limit(spec, misfit, model, draft):
        yield f"pod.resources.limits.memory: {limit}"


def _larger_limit(spec: LLMDeploymentSpec, misfit: Misfit, model: Model, draft: Model | None) -> str | None:
    """On CPUs, in whole GiB: what is lacking, and twice as much where the engine leaves half of what is left free."""
    if misfit.candidate.profile.spec.vendor != CPU:
        return None
    for times in (1, 2):
        limit = f"{-(-(misfit.memory.total + times * misfit.missing + 2 * GIB * (times - 1)) // GIB)}Gi"
        resources = spec.pod.resources.model_copy(update={"limits": {**spec.pod.resources.limits, "memory": limit}})
        larger = spec.model_copy(update={"pod": spec.pod.model_copy(update={"resources": resources})})
        if isinstance(fit(larger, misfit.candidate, model, draft=draft), Fit):
            return limit
    return None


def _larger_tensor(
    spec: LLMDeploymentSpec, candidate: Candidate, model: Model, supply: Supply, draft: Model | None
) -> int | None:
    """Where the spec sets it; if it is Auto, all have been tried."""
    if spec.engine.parallelism.tensor == "Auto" or candidate.profile.spec.vendor == CPU:
        return None
    tensor = candidate.tensor * 2
    while tensor * candidate.pipeline <= candidate.profile.spec.devices_per_node:
        larger = Candidate(candidate.profile, tensor, candidate.pipeline)
        if not why_not(spec, larger, model, supply) and isinstance(fit(spec, larger, model, draft=draft), Fit):
            return tensor
        tensor *= 2
    return None


def _fits(spec: LLMDeploymentSpec, candidate: Candidate, model: Model, settings: Settings) -> bool:
    return isinstance(fit(spec, candidate, model, settings=settings), Fit)


def _with(spec: LLMDeploymentSpec, **engine: str) -> LLMDeploymentSpec:
    return spec.model_copy(update={"engine": spec.engine.model_copy(update=engine)})
