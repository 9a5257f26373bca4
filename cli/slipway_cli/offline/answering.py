"""The answer to "what does this model need?": the offers of all profiles, the one to take, and why. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.llmdeployment import LLMDeployment, LLMDeploymentSpec
from slipway.contract.engines import VLLM
from slipway.models.facts import Model
from slipway.models.sources import Known
from slipway.observing import plan_report
from slipway.operator.planning import Plan, Unplannable, make_plan
from slipway.operator.planning.choosing import usable
from slipway.operator.planning.fitting import too_long
from slipway.operator.planning.make import unknown

from slipway_cli.offline.comparing import Comparison, Offer, compare, has_target


@dataclass(frozen=True)
class Answer:
    """Of one LLMDeployment."""

    deployment: LLMDeployment  # with the accelerator that is to be taken, where the operator would choose another
    known: Known
    plan: Plan | Unplannable
    comparison: Comparison

    @property
    def chosen(self) -> Offer | None:
        """The offer that the plan takes."""
        if isinstance(self.plan, Unplannable):
            return None
        plan = self.plan
        return next((each for each in self.comparison.offers if each.candidate.name == plan.profile), None)

    @property
    def is_well(self) -> bool:
        """It would run, and meet its target."""
        if self.chosen is None:
            return isinstance(self.plan, Plan)
        return not self.chosen.missed

    @property
    def meets(self) -> int:
        return sum(not each.missed for each in self.comparison.offers)


def answer_for(
    deployment: LLMDeployment, known: Known, draft: Model | None, profiles: Mapping[str, AcceleratorProfile]
) -> Answer:
    spec = deployment.spec
    comparison = Comparison((), ())
    if known.model is not None and not lacking(known.model) and not _is_too_long(spec, known.model):
        comparison = compare(spec, usable(spec, profiles.values()), known.model, draft)
    if comparison.offers and has_target(spec):
        deployment = _with_accelerator(deployment, comparison.offers[0])
    plan = make_plan(deployment.spec, profiles.values(), name=deployment.metadata.name, known=known, draft=draft)
    return Answer(deployment, known, plan, comparison)


def lacking(model: Model) -> tuple[str, ...]:
    """Fields of spec.model.facts without which there is no plan."""
    return unknown(model)


def _is_too_long(spec: LLMDeploymentSpec, model: Model) -> bool:
    return spec.engine.name == VLLM.name and bool(too_long(spec, model))


def _with_accelerator(deployment: LLMDeployment, offer: Offer) -> LLMDeployment:
    """The operator takes the cheapest that fits, whatever the target is; so the spec names what meets it."""
    spec, tensor = deployment.spec, offer.candidate.tensor
    accelerator = spec.accelerator.model_copy(update={"profiles": [offer.candidate.name], "policy": "Cheapest"})
    engine = spec.engine
    if tensor > 1 and spec.engine.parallelism.tensor == "Auto":
        parallelism = engine.parallelism.model_copy(update={"tensor": tensor})
        engine = engine.model_copy(update={"parallelism": parallelism})
    return deployment.model_copy(
        update={"spec": spec.model_copy(update={"accelerator": accelerator, "engine": engine})}
    )


def headline(answer: Answer) -> str:
    """What to take, and why, in one sentence."""
    plan, chosen, spec = answer.plan, answer.chosen, answer.deployment.spec
    if isinstance(plan, Unplannable):
        return plan.message
    if chosen is None or not has_target(spec):
        return plan.why[0]
    total = len(answer.comparison.offers)
    if chosen.missed:
        return f"None of {total} profiles meets the target; {chosen.candidate.label} comes first without it."
    if answer.meets == 1:
        return f"{chosen.candidate.label}: the only one of {total} profiles that meets the target{at_price(chosen)}."
    best = "fastest" if spec.accelerator.policy == "Fastest" else "cheapest"
    return f"{chosen.candidate.label}: the {best} of {answer.meets} profiles that meet the target{at_price(chosen)}."


def at_price(offer: Offer) -> str:
    return f", at {offer.price:.2f} per hour" if offer.price < float("inf") else ""


# --- for programs ----------------------------------------------------------------------------------------------------


def as_members(answer: Answer) -> dict[str, Any]:
    """The members of a document of kind Plan."""
    chosen, plan = answer.chosen, answer.plan
    return {
        "name": answer.deployment.metadata.name,
        "model": answer.deployment.spec.model.uri,
        "sources": list(answer.known.sources),
        "fits": isinstance(plan, Plan),
        "meetsTarget": (not chosen.missed if chosen and has_target(answer.deployment.spec) else None),
        "message": plan.message if isinstance(plan, Unplannable) else None,
        "reason": str(plan.reason) if isinstance(plan, Unplannable) else None,
        "plan": plan_report.reported(plan) if isinstance(plan, Plan) else None,
        "offers": [_offer(each) for each in answer.comparison.offers],
        "refused": [{"profile": each.profile, "why": each.why} for each in answer.comparison.refused],
        "problems": list(answer.known.problems),
    }


def _offer(offer: Offer) -> dict[str, Any]:
    speed, found = offer.speed, offer.fit
    members = {
        "profile": offer.candidate.name,
        "devices": offer.candidate.devices,
        "pricePerHour": _finite(offer.price),
        "contextLength": found.context_length,
        "maxConcurrency": found.max_concurrency,
        "concurrencyAtFullLength": round(found.at_full_length, 2),
        "kvTokens": found.kv_tokens,
        "weightBytesPerDevice": found.memory.weights,
        "memoryBytesPerDevice": found.memory.total,
        "secondsPerToken": _finite(speed.time_per_token) if speed else None,
        "secondsToFirstToken": _finite(offer.time_to_first_token) if speed else None,
        "tokensPerSecond": _finite(speed.tokens_per_second) if speed else None,
        "pricePerMillionTokens": speed.cost_per_million_tokens if speed else None,
        "missedTarget": offer.missed or None,
    }
    return {name: value for name, value in members.items() if value is not None}


def _finite(number: float) -> float | None:
    return None if number == float("inf") else number
