"""How fast a replica is expected to be, from the device's data sheet and measured efficiencies. Pure.

Decoding reads the weights once for a step of all requests, and each request's cache; it is as fast as the memory allows
until computing takes longer. Prefill computes. EFFICIENCIES says what engines reach of either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from slipway.api.units import amount
from slipway.models.facts import Keeps, Model
from slipway.operator.planning.candidates import Candidate
from slipway.operator.planning.engines import CPU
from slipway.operator.planning.fitting import Fit
from slipway.operator.planning.plan import Speed
from slipway.operator.planning.words import gib, number

TYPICAL = 1024
"""Tokens that a running request has on average: prompt and answer of a chat."""
TERA = 1e12


@dataclass(frozen=True)
class Efficiency:
    """What an engine reaches on a kind of device."""

    bandwidth: float  # of the data sheet's, when weights are read
    compute: float  # of the data sheet's dense rate
    layer: float  # seconds that each layer takes besides, in each step
    parallel: float  # of the ideal speed-up, for each doubling of tensor parallelism


EFFICIENCIES: Mapping[str, Efficiency] = {
    "vllm": Efficiency(bandwidth=0.92, compute=0.57, layer=38e-6, parallel=0.85),
    "vllm on CPUs": Efficiency(bandwidth=0.5, compute=0.3, layer=100e-6, parallel=0.85),
    "llamacpp": Efficiency(bandwidth=0.6, compute=0.3, layer=20e-6, parallel=1.0),
}


def speed_of(fit: Fit, model: Model, *, concurrency: int | None) -> Speed | None:
    """None: the profile doesn't say how fast its devices are."""
    candidate, facts = fit.candidate, fit.candidate.profile.spec
    compute = _compute(candidate, model, fit)
    if facts.bandwidth is None or not compute or model.weights is None:
        return None
    known = _efficiency(candidate, fit)
    factor = candidate.pipeline * candidate.tensor * known.parallel ** _doublings(candidate.tensor)
    read = float(amount(facts.bandwidth)) * known.bandwidth * factor / candidate.pipeline
    flops = compute * TERA * known.compute * factor / candidate.pipeline
    at_once = max(1, min(concurrency or 1, int(fit.kv_tokens / TYPICAL) or 1))
    alone = _step(fit, model, 1, read=read, flops=flops, known=known)
    together = _step(fit, model, at_once, read=read, flops=flops, known=known)
    prefill = flops / (2 * model.known_weights.active)
    cost = facts.cost_per_hour
    return Speed(
        time_per_token=alone,
        time_per_token_at_concurrency=together,
        prefill_tokens_per_second=prefill,
        tokens_per_second=at_once / together,
        cost_per_million_tokens=None if cost is None else cost * candidate.devices / 3600 * together / at_once * 1e6,
        formula=_formula(fit, model, known, at_once),
    )


def _step(fit: Fit, model: Model, requests: int, *, read: float, flops: float, known: Efficiency) -> float:
    """Seconds of a step that generates one token for each request."""
    fetched = _weights_read(fit, model, requests) + requests * TYPICAL * _cache_per_token(fit, model)
    return fetched / read + 2 * requests * model.known_weights.active / flops + model.layer_count * known.layer


def _weights_read(fit: Fit, model: Model, requests: int) -> float:
    """With few requests, not all experts are needed."""
    devices = fit.candidate.devices
    own = fit.memory.weights * devices
    if model.experts is None or not model.known_weights.experts:
        return own
    experts = own * model.known_weights.experts / model.known_weights.total
    used = 1 - (1 - model.experts.per_token / model.experts.count) ** requests
    return own - experts * (1 - used)


def _cache_per_token(fit: Fit, model: Model) -> float:
    seen = sum(
        each.count * each.values_per_token * min(1.0, (each.window or TYPICAL) / TYPICAL)
        for each in model.layers
        if each.keeps is not Keeps.STATE
    )
    return seen * fit.settings.kv_bits / 8


def _compute(candidate: Candidate, model: Model, fit: Fit) -> float:
    """TFLOPS of the type that the weights are computed in."""
    rates = candidate.profile.spec.compute
    is_fp8 = fit.settings.weight_bits == 8 or bool(model.quantization and "fp8" in model.quantization.method)
    names = ("fp8", "bf16", "fp16", "fp32") if is_fp8 else ("bf16", "fp16", "fp32")
    return next((rates[name] for name in names if rates.get(name)), 0.0)


def _efficiency(candidate: Candidate, fit: Fit) -> Efficiency:
    if candidate.profile.spec.vendor != CPU:
        return EFFICIENCIES["vllm"]
    return EFFICIENCIES["vllm on CPUs" if fit.settings.slots == 0 else "llamacpp"]


def _doublings(tensor: int) -> int:
    return (tensor - 1).bit_length()


def _formula(fit: Fit, model: Model, known: Efficiency, at_once: int) -> str:
    facts = fit.candidate.profile.spec
    return (
        f"A token reads {gib(fit.memory.weights)} of weights per device at {known.bandwidth:.0%} of "
        f"{facts.bandwidth}B/s, and each of {model.layer_count} layers takes {known.layer * 1e6:.0f} µs besides; a "
        f"prompt token takes 2 x {number(model.known_weights.active / 1e6)} million operations at {known.compute:.0%} "
        f"of the data sheet's rate. Many is {at_once} requests of {TYPICAL} tokens; the efficiencies were measured "
        "with an 8B on an H200."
    )
