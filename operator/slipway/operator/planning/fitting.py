"""Whether a model fits on a candidate, and what it can do there. Pure.

A candidate fits if its cache holds one request of the spec's contextLength; where the spec leaves it open, one of the
model's own length or of USEFUL tokens, whichever is less. The plan then takes the longest context that fits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.llmdeployment import LLMDeploymentSpec
from slipway.api.units import amount
from slipway.contract.engines import LLAMACPP, VLLM
from slipway.models.facts import Model
from slipway.operator.planning.candidates import Candidate
from slipway.operator.planning.concurrency import concurrency
from slipway.operator.planning.correcting import (
    MOST_MORE,
    Sized,
    as_computed,
    as_llamacpp_measured,
    as_vllm_measured,
    as_vllm_on_cpus_measured,
    total_of,
)
from slipway.operator.planning.device_memory import part_of_replica
from slipway.operator.planning.engine_settings import settings_for
from slipway.operator.planning.engines import CPU
from slipway.operator.planning.measured import Measured
from slipway.operator.planning.memory import llamacpp, vllm, vllm_on_cpus
from slipway.operator.planning.memory.blocks import Cache, cache_of
from slipway.operator.planning.memory.releases import CURRENT
from slipway.operator.planning.memory.settings import Device, Release, Settings
from slipway.operator.planning.plan import Memory

USEFUL = 8192  # tokens
LLAMACPP_LENGTH = 4096  # what slipway-runtime gives llama.cpp, which reserves the cache of all slots in advance
MARGIN = 0.03
"""Of the budget: so much less than planned may be left for the cache, and the context that the plan chooses still fits.
vLLM refuses to start with a longer one."""
SEEN, LEAST_SEEN = 16_384, 8192
"""Tokens of images: the context that a plan chooses for a model that sees, and what one step has at least."""
ROUND = 256  # tokens: a context that the plan chooses is a multiple
SHORT = 128  # tokens of a short request: the engine works on no more than fit, if all are short
PLANNED = (VLLM.name, LLAMACPP.name)
"""Engines whose memory is planned; of others, only their own makers know the arithmetic."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What a model takes and can do on a candidate."""

    candidate: Candidate
    settings: Settings
    memory: Memory
    kv_cache: int  # bytes by which the rest was planned: those of `memory`, or of the last start if almost the same
    context_length: int
    kv_tokens: int  # of one replica, as the engine counts them
    at_full_length: float  # requests of that length at the same time
    max_concurrency: int | None  # None: the engine's own default


@dataclass(frozen=True, kw_only=True)
class Misfit:
    """What is lacking."""

    candidate: Candidate
    settings: Settings
    memory: Memory
    missing: int  # bytes on each device, for one request of the wanted length
    wanted_length: int
    longest: int  # the longest request that fits; 0 if none does


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """A model on a candidate."""

    spec: LLMDeploymentSpec
    candidate: Candidate
    model: Model
    settings: Settings
    measured: Measured | None

    @property
    def device(self) -> Device:
        return device_of(self.spec, self.candidate.profile)


def fit(
    spec: LLMDeploymentSpec,
    candidate: Candidate,
    model: Model,
    *,
    draft: Model | None = None,
    release: Release = CURRENT,
    settings: Settings | None = None,
    measured: Measured | None = None,
) -> Fit | Misfit:
    """The model's weights and lengths must be known. `settings`: others than the spec's, to try a remedy; `measured`:
    what the same was measured to take."""
    settings = settings or settings_for(
        spec, candidate.profile, tensor=candidate.tensor, pipeline=candidate.pipeline, draft=draft
    )
    trial = _Trial(spec=spec, candidate=candidate, model=model, settings=settings, measured=measured)
    if spec.engine.name == LLAMACPP.name:
        return _fit_llamacpp(trial)
    trial = replace(trial, settings=replace(settings, seen_tokens=_seen(spec, model)))
    cache = cache_of(model, trial.settings, release)
    if candidate.profile.spec.vendor == CPU:
        sized = as_computed(_on_cpus(trial))
        return _fit_vllm(trial, sized, sized.kv_cache, cache)
    computed, sized = _on_devices(trial, release)
    compiling = computed.kv_cache - vllm.least_cache(computed, model, trial.settings, release)
    return _fit_vllm(trial, sized, max(0, sized.kv_cache - compiling), cache)


def _on_cpus(trial: _Trial) -> Memory:
    computed, measured = vllm_on_cpus.divide(trial.model, trial.device, trial.settings), trial.measured
    if measured is None:
        return computed
    again = vllm_on_cpus.divide(trial.model, trial.device, trial.settings, weights=measured.weights)
    return as_vllm_on_cpus_measured(computed, again, measured)


def _on_devices(trial: _Trial, release: Release) -> tuple[Memory, Sized]:
    """As computed, and as measured."""
    device, measured = trial.device, trial.measured
    computed = vllm.divide(trial.model, device, trial.settings, release)
    if measured is None:
        return computed, as_computed(computed)
    total = total_of(device.total, measured, most=int(amount(trial.candidate.profile.spec.memory)))
    again = vllm.divide(trial.model, Device(total=total), trial.settings, release)
    return computed, as_vllm_measured(computed, again, measured)


def device_of(spec: LLMDeploymentSpec, profile: AcceleratorProfile) -> Device:
    """On CPUs, a memory limit of the spec is the memory that there is."""
    own = spec.pod.resources.limits.get("memory") if profile.spec.vendor == CPU else None
    return Device(total=int(amount(own)) if own else part_of_replica(profile.spec))


def longest_of(model: Model, spec: LLMDeploymentSpec) -> int | None:
    """The longest context that a plan chooses. What images and videos take grows with it, so there it is shorter."""
    own = model.context_length
    return min(own, SEEN) if own and model.known_weights.encoders and spec.engine.name == VLLM.name else own


def _seen(spec: LLMDeploymentSpec, model: Model) -> int:
    """Tokens that images and videos may become in one step: vLLM tries the largest that fit into the context."""
    if not model.known_weights.encoders:
        return 0
    return max(LEAST_SEEN, spec.engine.context_length or longest_of(model, spec) or SEEN)


def too_long(spec: LLMDeploymentSpec, model: Model) -> str:
    """Why vLLM would refuse the spec's contextLength, in half a sentence; empty if it wouldn't."""
    most = model.longest_context or model.context_length
    if not most or not spec.engine.context_length or spec.engine.context_length <= most:
        return ""
    return f"engine.contextLength is {spec.engine.context_length:,}, and the model can do {most:,} tokens at most"


def wanted_length(spec: LLMDeploymentSpec, model: Model) -> int:
    """Tokens of a request that must fit."""
    return spec.engine.context_length or min(model.context_length or USEFUL, USEFUL)


def _fit_vllm(trial: _Trial, sized: Sized, least_room: int, cache: Cache | None) -> Fit | Misfit:
    """`least_room`: for the cache, when vLLM starts for the first time and compiles. It must do for one request."""
    spec, model, memory, settings = trial.spec, trial.model, sized.memory, trial.settings
    wanted, lacking, room = wanted_length(spec, model), vllm.missing(memory), sized.kv_cache
    if cache is None:
        return _without_cache(trial, memory)
    if cache.request_bytes(wanted) > least_room:
        return Misfit(
            candidate=trial.candidate,
            settings=settings,
            memory=memory,
            missing=cache.request_bytes(wanted) + max(0, lacking) - least_room,
            wanted_length=wanted,
            longest=cache.longest(least_room, at_most=wanted),
        )
    careful = least_room - int(sized.budget * MARGIN)
    longest = cache.longest(careful, at_most=longest_of(model, spec) or wanted)
    length = spec.engine.context_length or max(_rounded(longest, wanted), wanted)
    tokens = cache.tokens(memory.kv_cache, length)
    if sized.tokens:
        tokens = min(sized.tokens, int(tokens * (1 + MOST_MORE)))
    return Fit(
        candidate=trial.candidate,
        settings=settings,
        memory=memory,
        kv_cache=room,
        context_length=length,
        kv_tokens=tokens,
        at_full_length=tokens / length if sized.tokens else cache.concurrency(memory.kv_cache, length),
        max_concurrency=spec.engine.max_concurrency or _affordable(settings, cache, room, length),
    )


def _without_cache(trial: _Trial, memory: Memory) -> Fit | Misfit:
    """The model keeps nothing of a request."""
    wanted, lacking = wanted_length(trial.spec, trial.model), vllm.missing(memory)
    if lacking > 0:
        return Misfit(
            candidate=trial.candidate,
            settings=trial.settings,
            memory=memory,
            missing=lacking,
            wanted_length=wanted,
            longest=0,
        )
    return Fit(
        candidate=trial.candidate,
        settings=trial.settings,
        memory=replace(memory, kv_cache=0),
        kv_cache=0,
        context_length=trial.model.context_length or wanted,
        kv_tokens=0,
        at_full_length=0.0,
        max_concurrency=trial.settings.sequences,
    )


def _rounded(longest: int, wanted: int) -> int:
    return max(longest // ROUND * ROUND, wanted) if longest > wanted else longest


def _affordable(settings: Settings, cache: Cache, room: int, length: int) -> int:
    """The engine's own number of requests, but no more than there are short ones in the cache."""
    return max(1, min(settings.sequences, int(cache.concurrency(room, min(SHORT, length)))))


def _fit_llamacpp(trial: _Trial) -> Fit | Misfit:
    spec, model = trial.spec, trial.model
    slots = concurrency(spec, trial.candidate.profile) or 1
    step = spec.engine.max_batched_tokens or llamacpp.STEP
    settings = replace(trial.settings, slots=slots, batched_tokens=step)
    wanted = spec.engine.context_length or min(model.context_length or LLAMACPP_LENGTH, LLAMACPP_LENGTH)
    memory = llamacpp.divide(model, trial.device, settings, context_length=wanted, slots=slots)
    lacking = memory.weights + memory.overhead + memory.kv_cache - memory.budget
    if lacking > 0:
        room = memory.budget - memory.weights - memory.overhead
        return Misfit(
            candidate=trial.candidate,
            settings=settings,
            memory=memory,
            missing=lacking,
            wanted_length=wanted,
            longest=wanted * max(0, room) // memory.kv_cache if memory.kv_cache else 0,
        )
    return Fit(
        candidate=trial.candidate,
        settings=settings,
        memory=as_llamacpp_measured(memory, trial.measured) if trial.measured else memory,
        kv_cache=memory.kv_cache,
        context_length=wanted,
        kv_tokens=wanted * slots if memory.kv_cache else 0,
        at_full_length=float(slots),
        max_concurrency=slots,
    )
