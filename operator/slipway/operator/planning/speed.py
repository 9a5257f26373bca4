"""How fast a replica is expected to be, from the device's data sheet and measured efficiencies. Pure.

A step of decoding reads the weights once for all its requests, unless computing takes longer, then the cache of each
request; and each layer takes a little besides. Prefill computes. EFFICIENCIES says what engines reach of either: those
of vLLM were measured on an H200 (benchmarks/measured/vllm-speed-0.32.yaml), the others are guesses on the safe side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from slipway.api.units import amount
from slipway.models.facts import Keeps, Model
from slipway.operator.planning.engines import CPU
from slipway.operator.planning.fitting import Fit
from slipway.operator.planning.plan import Speed
from slipway.operator.planning.words import gib, number

TYPICAL = 1024
"""Tokens that a running request has on average: prompt and answer of a chat."""
TERA = 1e12


@dataclass(frozen=True, kw_only=True)
class Efficiency:
    """What an engine reaches on a kind of device."""

    bandwidth: float  # of the data sheet's
    compute: float  # of the data sheet's dense rate, in 16 bits
    small_compute: float  # the same in 8 bits
    layer: float  # seconds that each layer takes besides, in each step
    parallel: float = 0.85  # of the ideal speed-up, for each doubling of tensor parallelism


VLLM = Efficiency(bandwidth=0.92, compute=0.63, small_compute=0.47, layer=40e-6)
VLLM_WITH_EXPERTS = Efficiency(bandwidth=0.82, compute=0.39, small_compute=0.3, layer=50e-6)
VLLM_ON_CPUS = Efficiency(bandwidth=0.5, compute=0.3, small_compute=0.3, layer=100e-6)
LLAMACPP = Efficiency(bandwidth=0.6, compute=0.3, small_compute=0.3, layer=20e-6, parallel=1.0)


@dataclass(frozen=True, kw_only=True)
class Pace:
    """What all devices of a stage do together."""

    read: float  # bytes per second
    compute: float  # operations per second
    layer: float  # seconds

    def step(self, model: Model, *, weights: float, cache_of_token: float, requests: int, context: int) -> float:
        """Seconds of a step that generates one token for each request; `weights` in bytes."""
        weights_read = _needed(model, weights, requests) / self.read
        computed = 2 * requests * model.known_weights.active / self.compute
        cache_read = requests * context * cache_of_token / self.read
        return max(weights_read, computed) + cache_read + model.layer_count * self.layer

    def prefill(self, model: Model) -> float:
        """Tokens of prompts per second."""
        return self.compute / (2 * model.known_weights.active)


def speed_of(fit: Fit, model: Model, *, concurrency: int | None, price: float) -> Speed | None:
    """`price`: per hour and replica. None: the profile doesn't say how fast its devices are, or the model generates
    nothing."""
    candidate, facts = fit.candidate, fit.candidate.profile.spec
    known = efficiency_of(model, is_on_cpus=facts.vendor == CPU, is_llamacpp=bool(fit.settings.slots))
    pace = _pace(fit, model, known)
    if pace is None or model.task != "Generate":
        return None
    at_once = max(1, min(concurrency or 1, int(fit.kv_tokens / TYPICAL) or 1))
    weights, cache = float(fit.memory.weights * candidate.devices), cache_of_token(model, fit.settings.kv_bits)
    alone, together = (
        pace.step(model, weights=weights, cache_of_token=cache, requests=requests, context=TYPICAL)
        for requests in (1, at_once)
    )
    per_token = price / 3600 * together / at_once
    return Speed(
        time_per_token=alone,
        time_per_token_at_concurrency=together,
        prefill_tokens_per_second=pace.prefill(model),
        tokens_per_second=at_once / together,
        cost_per_million_tokens=None if math.isinf(price) else per_token * 1e6,
        formula=_formula(fit, model, known, at_once),
    )


def efficiency_of(model: Model, *, is_on_cpus: bool = False, is_llamacpp: bool = False) -> Efficiency:
    if is_llamacpp:
        return LLAMACPP
    if is_on_cpus:
        return VLLM_ON_CPUS
    return VLLM_WITH_EXPERTS if model.experts else VLLM


def cache_of_token(model: Model, kv_bits: float) -> float:
    """Bytes that are read for each token of a context of TYPICAL length; windows read less."""
    seen = sum(
        each.count * each.values_per_token * min(1.0, (each.window or TYPICAL) / TYPICAL)
        for each in model.layers
        if each.keeps is not Keeps.STATE
    )
    return seen * kv_bits / 8


def _pace(fit: Fit, model: Model, known: Efficiency) -> Pace | None:
    candidate, facts = fit.candidate, fit.candidate.profile.spec
    is_small = fit.settings.weight_bits == 8 or bool(model.quantization and model.quantization.format == "fp8")
    names = ("fp8", "bf16", "fp16", "fp32") if is_small else ("bf16", "fp16", "fp32")
    name = next((name for name in names if facts.compute.get(name)), None)
    if facts.bandwidth is None or name is None:
        return None
    devices = candidate.tensor * known.parallel ** (candidate.tensor - 1).bit_length()
    efficiency = known.small_compute if name == "fp8" else known.compute
    return Pace(
        read=float(amount(facts.bandwidth)) * known.bandwidth * devices,
        compute=facts.compute[name] * TERA * efficiency * devices,
        layer=known.layer,
    )


def _needed(model: Model, weights: float, requests: int) -> float:
    """Of the bytes of the weights, those that a step reads: with few requests, not all experts."""
    if model.experts is None or not model.known_weights.experts:
        return weights
    experts = weights * model.known_weights.experts / model.known_weights.total
    return weights - experts * (1 - model.experts.per_token / model.experts.count) ** requests


def _formula(fit: Fit, model: Model, known: Efficiency, at_once: int) -> str:
    facts = fit.candidate.profile.spec
    return (
        f"A token reads {gib(fit.memory.weights)} of weights per device at {known.bandwidth:.0%} of "
        f"{facts.bandwidth}B/s, and each of {model.layer_count} layers takes {known.layer * 1e6:.0f} µs besides; a "
        f"prompt token takes 2 x {number(model.known_weights.active / 1e6)} million operations at {known.compute:.0%} "
        f"of the data sheet's rate. Many is {at_once} requests of {TYPICAL} tokens; the efficiencies "
        f"{'were measured on an H200' if facts.vendor != CPU else 'are guesses'}."
    )
