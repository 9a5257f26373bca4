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
from slipway.operator.planning.memory.settings import Settings
from slipway.operator.planning.supply import Supply
from slipway.operator.planning.words import gib, joined, number

LEAST_LENGTH = 256  # tokens: no shorter context is proposed
FEWER_REQUESTS = 64


def needs(spec: LLMDeploymentSpec, misfit: Misfit, model: Model, supply: Supply) -> str:
    """`needs 3.1 GiB more: quantization FP8, or contextLength ≤ 6,144`."""
    found = list(changes(spec, misfit, model, supply))
    each = " per device" if misfit.candidate.devices > 1 else ""
    return f"needs {gib(misfit.missing)} more{each}" + (f": {joined(found)}" if found else "")


def changes(spec: LLMDeploymentSpec, misfit: Misfit, model: Model, supply: Supply) -> Iterator[str]:
    """Each of them alone is enough."""
    candidate, settings, engine = misfit.candidate, misfit.settings, spec.engine
    if engine.name == VLLM.name and candidate.profile.spec.vendor != CPU:
        if engine.quantization == "None" and model.quantization is None:
            smaller = replace(settings, weight_bits=8)
            if not why_not(_with_fp8(spec), candidate, model, supply) and _fits(spec, candidate, model, smaller):
                yield "engine.quantization: FP8"
        if engine.kv_cache_dtype == "Auto" and _fits(spec, candidate, model, replace(settings, kv_bits=8)):
            yield "engine.kvCacheDtype: FP8"
        fewer = replace(settings, sequences=FEWER_REQUESTS, largest_graph=min(settings.largest_graph, 128))
        if settings.sequences > FEWER_REQUESTS and _fits(spec, candidate, model, fewer):
            yield f"engine.maxConcurrency: {FEWER_REQUESTS}"
    if misfit.longest >= LEAST_LENGTH:
        yield f"engine.contextLength ≤ {number(misfit.longest // LEAST_LENGTH * LEAST_LENGTH)}"
    if tensor := _larger_tensor(spec, candidate, model, supply):
        yield f"engine.parallelism.tensor: {tensor}"


def _larger_tensor(spec: LLMDeploymentSpec, candidate: Candidate, model: Model, supply: Supply) -> int | None:
    """Where the spec sets it; if it is Auto, all have been tried."""
    if spec.engine.parallelism.tensor == "Auto" or candidate.profile.spec.vendor == CPU:
        return None
    tensor = candidate.tensor * 2
    while tensor * candidate.pipeline <= candidate.profile.spec.devices_per_node:
        larger = Candidate(candidate.profile, tensor, candidate.pipeline)
        if not why_not(spec, larger, model, supply) and isinstance(fit(spec, larger, model), Fit):
            return tensor
        tensor *= 2
    return None


def _fits(spec: LLMDeploymentSpec, candidate: Candidate, model: Model, settings: Settings) -> bool:
    return isinstance(fit(spec, candidate, model, settings=settings), Fit)


def _with_fp8(spec: LLMDeploymentSpec) -> LLMDeploymentSpec:
    return spec.model_copy(update={"engine": spec.engine.model_copy(update={"quantization": "FP8"})})
