"""Chooses among the profiles on which a model fits, by the policy of the spec. Pure.

On each profile it takes as few devices as hold the model. What runs already stays where it is for as long as it fits
there: a cheaper node never moves a running model. What the engine measured the last time sizes the plan, and decides
nothing here: of all candidates only one was measured, so a model that moved because of it would move back at the next
start.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.llmdeployment import LLMDeploymentSpec
from slipway.contract.engines import VLLM
from slipway.models.facts import Model
from slipway.operator.planning.candidates import Candidate, Running, candidates_on, is_full, terms_on, why_not
from slipway.operator.planning.engines import CPU, runtime_for
from slipway.operator.planning.fitting import Fit, Misfit, fit
from slipway.operator.planning.measured import Measurements
from slipway.operator.planning.plan import Speed
from slipway.operator.planning.remedies import needs
from slipway.operator.planning.speed import speed_of
from slipway.operator.planning.supply import Supply

PROMPT, ANSWER = 1024, 256  # tokens of the request by which Fastest compares


@dataclass(frozen=True)
class Option:
    """A profile on which the model fits."""

    fit: Fit
    computed: Fit  # the same without what was measured
    speed: Speed | None
    place: int  # of the profile in the spec's order
    is_full: bool  # no node has enough free devices now
    price: float  # per hour and replica, on the terms of the spec; infinite if unknown
    is_too_small: bool = False  # by what was measured, although it ran there; so the plan is the computed one

    @property
    def seconds(self) -> float:
        """Of a typical request without others; infinite if unknown."""
        return self.speed.time_to_first_token(PROMPT) + ANSWER * self.speed.time_per_token if self.speed else INFINITE


INFINITE = float("inf")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """All options, the chosen one first, and what is wrong with each other profile."""

    options: tuple[Option, ...]
    objections: Mapping[str, str] = field(default_factory=dict)  # by profile
    misfits: tuple[Misfit, ...] = ()  # the ones that come closest, of each profile
    stays: bool = False  # it runs there, although another would be chosen now


def choose(
    spec: LLMDeploymentSpec,
    profiles: Sequence[AcceleratorProfile],
    model: Model,
    supply: Supply,
    *,
    draft: Model | None = None,
    running: Running | None = None,
    measurements: Measurements | None = None,
) -> Choice:
    """`profiles`: those that may be used, in the spec's order. The model's numbers must be known."""
    options, objections, misfits = [], {}, []
    for place, profile in enumerate(profiles):
        found = _on(spec, profile, model, supply, draft, running)
        if isinstance(found, Fit):
            options.append(_option(spec, found, model, supply, place, running))
        elif isinstance(found, Misfit):
            misfits.append(found)
            objections[found.candidate.name] = needs(spec, found, model, supply, draft=draft)
        else:
            objections[profile.metadata.name] = found
    best = sorted(options, key=lambda each: _order(spec, each))
    current = next((each for each in best if _is(each.fit.candidate, running)), None)
    stays = current is not None and current is not best[0]
    if current is not None:
        best = [current, *(each for each in best if each is not current)]
    if best and measurements:
        best[0] = _as_measured(spec, best[0], model, draft, measurements)
    return Choice(options=tuple(best), objections=objections, misfits=tuple(misfits), stays=stays)


def _on(
    spec: LLMDeploymentSpec,
    profile: AcceleratorProfile,
    model: Model,
    supply: Supply,
    draft: Model | None,
    running: Running | None,
) -> Fit | Misfit | str:
    """With as few devices as hold the model; else the closest misfit, or what rules out the profile altogether."""
    objection, misfit = "", None
    tried = list(candidates_on(spec, profile, model))
    if running and running.has_pods and running.profile == profile.metadata.name:
        tried.sort(key=lambda each: each.devices != running.devices)
    for candidate in tried:
        if wrong := why_not(terms_on(spec, candidate, supply, running)[0], candidate, model, supply):
            objection = objection or wrong
            continue
        found = fit(spec, candidate, model, draft=draft)
        if isinstance(found, Fit):
            return found
        misfit = found if misfit is None or found.missing < misfit.missing else misfit
    return misfit or objection


def _option(
    spec: LLMDeploymentSpec,
    found: Fit,
    model: Model,
    supply: Supply,
    place: int,
    running: Running | None,
) -> Option:
    price = price_of(spec, found.candidate)
    return Option(
        fit=found,
        computed=found,
        speed=speed_of(found, model, concurrency=found.max_concurrency, price=price),
        place=place,
        is_full=_is_full(terms_on(spec, found.candidate, supply, running)[0], found.candidate, supply, running),
        price=price,
    )


def _as_measured(
    spec: LLMDeploymentSpec, option: Option, model: Model, draft: Model | None, measurements: Measurements
) -> Option:
    """What ran there fits there, whatever it has reported: a model that were refused because of that would never be
    measured again. Where replicas of others share the device, nothing that a tenant reports counts."""
    candidate = option.fit.candidate
    profile = candidate.profile
    runtime = runtime_for(spec.engine.name, profile.spec.vendor) or ""
    measured = measurements.on(profile, runtime, candidate.tensor, candidate.pipeline)
    if measured is None or profile.spec.shared_by > 1:
        return option
    found = fit(spec, candidate, model, draft=draft, measured=measured)
    if isinstance(found, Misfit):
        return replace(option, is_too_small=True)
    speed = speed_of(found, model, concurrency=found.max_concurrency, price=option.price)
    return replace(option, fit=found, speed=speed)


def _is_full(spec: LLMDeploymentSpec, candidate: Candidate, supply: Supply, running: Running | None) -> bool:
    """Devices that the model's own pods have aren't taken by others."""
    if running and running.has_pods and running.profile == candidate.name and running.devices >= candidate.devices:
        return False
    return is_full(spec, candidate, supply)


def price_of(spec: LLMDeploymentSpec, candidate: Candidate) -> float:
    spot = candidate.profile.spec.spot
    if spec.accelerator.spot == "Required" and spot and spot.cost_per_hour is not None:
        return spot.cost_per_hour * candidate.devices
    return candidate.price


def _order(spec: LLMDeploymentSpec, option: Option) -> tuple[object, ...]:
    """A full profile comes after all that have free devices, and CPUs, for an engine of GPUs, after all devices. Ties
    are broken by price, devices and name."""
    last = option.is_full, _is_makeshift(spec, option)
    rest = (option.price, option.fit.candidate.devices, option.fit.candidate.name)
    if spec.accelerator.policy == "InOrder":
        return option.is_full, option.place, *rest
    if spec.accelerator.policy == "Fastest":
        return *last, option.seconds, *rest
    return *last, *rest


def _is_makeshift(spec: LLMDeploymentSpec, option: Option) -> bool:
    """A CPU that the spec doesn't name: cheap, and so slow with vLLM that no one would choose it knowingly."""
    is_named = option.fit.candidate.name in spec.accelerator.profiles
    return spec.engine.name == VLLM.name and not is_named and option.fit.candidate.profile.spec.vendor == CPU


def _is(candidate: Candidate, running: Running | None) -> bool:
    return running is not None and running.has_pods and running.is_by(candidate)


def usable(spec: LLMDeploymentSpec, profiles: Iterable[AcceleratorProfile]) -> list[AcceleratorProfile]:
    """Those that the spec names, in its order; else all, by name."""
    known = {profile.metadata.name: profile for profile in profiles}
    names = spec.accelerator.profiles or sorted(known)
    return [known[name] for name in names if name in known]
