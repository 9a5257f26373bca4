"""What each accelerator would do with a model: one offer for each profile, best first. Pure.

The operator chooses among the same candidates, with as few devices as hold the model. With a target, more devices are
tried, too, until one meets it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.llmdeployment import LLMDeploymentSpec
from slipway.api.units import seconds
from slipway.models.facts import Model
from slipway.operator.planning.candidates import Candidate, candidates_on, why_not
from slipway.operator.planning.choosing import ANSWER, PROMPT, price_of
from slipway.operator.planning.engines import CPU, runtime_for
from slipway.operator.planning.fitting import Fit, Misfit, fit
from slipway.operator.planning.plan import Speed
from slipway.operator.planning.remedies import needs
from slipway.operator.planning.speed import speed_of
from slipway.operator.planning.supply import Supply

NOTHING_SEEN = Supply()
INFINITE = float("inf")


@dataclass(frozen=True)
class Offer:
    """A model on some devices of one profile, where it fits."""

    fit: Fit
    speed: Speed | None
    price: float  # per hour; infinite if the profile has none
    missed: str = ""  # which target it doesn't meet, or that it is unknown; empty: none

    @property
    def candidate(self) -> Candidate:
        return self.fit.candidate

    @property
    def time_to_first_token(self) -> float:
        return self.speed.time_to_first_token(PROMPT) if self.speed else INFINITE

    @property
    def time_per_token(self) -> float:
        return self.speed.time_per_token if self.speed else INFINITE


@dataclass(frozen=True)
class Refused:
    """A profile on which it doesn't run, and what would have to change."""

    profile: str
    why: str
    missing: float = INFINITE  # bytes per device; infinite if it isn't a matter of memory


@dataclass(frozen=True)
class Comparison:
    offers: tuple[Offer, ...]
    refused: tuple[Refused, ...]


def compare(
    spec: LLMDeploymentSpec, profiles: Iterable[AcceleratorProfile], model: Model, draft: Model | None
) -> Comparison:
    """The model's numbers must be known."""
    offers: list[Offer] = []
    refused: list[Refused] = []
    for profile in profiles:
        found = _on(spec, profile, model, draft)
        (offers if isinstance(found, Offer) else refused).append(found)  # type: ignore[arg-type]
    return Comparison(
        tuple(sorted(offers, key=lambda each: _order(spec, each))),
        tuple(sorted(refused, key=lambda each: (each.missing, each.profile))),
    )


def _on(spec: LLMDeploymentSpec, profile: AcceleratorProfile, model: Model, draft: Model | None) -> Offer | Refused:
    """The first that meets the target, with as few devices as possible; else the first that fits."""
    name = profile.metadata.name
    if runtime_for(spec.engine.name, profile.spec.vendor) is None:
        return Refused(name, f"{spec.engine.name} doesn't run on hardware of {profile.spec.vendor}")
    offers: list[Offer] = []
    misfit, objection = None, ""
    for candidate in candidates_on(spec, profile, model):
        if wrong := why_not(spec, candidate, model, NOTHING_SEEN):
            objection = objection or wrong
            continue
        found = fit(spec, candidate, model, draft=draft)
        if isinstance(found, Misfit):
            misfit = found if misfit is None or found.missing < misfit.missing else misfit
            continue
        offers.append(_offer(spec, found, model))
        if not offers[-1].missed:
            return offers[-1]
    if offers:
        return offers[0]
    if misfit is None:
        return Refused(name, objection)
    label = f"on {misfit.candidate.label}: " if misfit.candidate.devices > 1 else ""
    return Refused(name, label + needs(spec, misfit, model, NOTHING_SEEN, draft=draft), misfit.missing)


def _offer(spec: LLMDeploymentSpec, found: Fit, model: Model) -> Offer:
    price = price_of(spec, found.candidate)
    speed = speed_of(found, model, concurrency=found.max_concurrency, price=price)
    return Offer(found, speed, price, ", ".join(_missed(spec, speed)))


def _missed(spec: LLMDeploymentSpec, speed: Speed | None) -> Iterator[str]:
    target = spec.scaling.target
    if target is None or not has_target(spec):
        return
    if speed is None:
        yield "unknown"  # the profile doesn't say how fast its devices are
        return
    if target.tpot_p95 and speed.time_per_token > seconds(target.tpot_p95):
        yield "time per token"
    if target.ttft_p95 and speed.time_to_first_token(PROMPT) > seconds(target.ttft_p95):
        yield "first token"


def has_target(spec: LLMDeploymentSpec) -> bool:
    target = spec.scaling.target
    return target is not None and bool(target.tpot_p95 or target.ttft_p95)


def _order(spec: LLMDeploymentSpec, offer: Offer) -> tuple[object, ...]:
    """As the planner orders them, those that meet the target first; a CPU that wasn't named is the last resort."""
    named: Sequence[str] = spec.accelerator.profiles
    is_cpu = offer.candidate.profile.spec.vendor == CPU and offer.candidate.name not in named
    first = bool(offer.missed), is_cpu and spec.engine.name == "vllm"
    rest = (offer.price, offer.candidate.devices, offer.candidate.name)
    if spec.accelerator.policy == "InOrder":
        return *first, named.index(offer.candidate.name), *rest
    if spec.accelerator.policy == "Fastest":
        return *first, offer.time_to_first_token + ANSWER * offer.time_per_token, *rest
    return *first, *rest
