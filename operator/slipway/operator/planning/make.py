"""Makes the plan: which profile, how many devices, which resources, and what the engine receives. Pure.

With the model's numbers, everything is computed. Without them, a profile that the spec names is taken as before, and
the plan says which number is missing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.llmdeployment import LLMDeploymentSpec
from slipway.api.reasons import Reason
from slipway.contract.engines import LLAMACPP, VLLM
from slipway.models.facts import Model
from slipway.models.sources import Known
from slipway.operator.planning import explaining
from slipway.operator.planning.candidates import Candidate, Running, terms_on, why_not
from slipway.operator.planning.choosing import Choice, Option, choose, usable
from slipway.operator.planning.concurrency import concurrency, why_so_many
from slipway.operator.planning.correcting import LEAST
from slipway.operator.planning.device_memory import share_of_replica, share_planned
from slipway.operator.planning.drivers import check_drivers
from slipway.operator.planning.engine_settings import unplanned_flags
from slipway.operator.planning.engines import CPU, needs_devices, runtime_for
from slipway.operator.planning.fitting import PLANNED, too_long
from slipway.operator.planning.measured import Measurements
from slipway.operator.planning.memory.weights import file_bytes
from slipway.operator.planning.plan import Plan, Unplannable
from slipway.operator.planning.resources import (
    excluded_nodes,
    node_terms,
    of_host,
    only_spot_selected,
    parallelism,
    requested,
    runtime_class,
    shared_memory,
    start_limit,
    tolerations,
)
from slipway.operator.planning.supply import Supply
from slipway.operator.planning.tasks import cannot_do, task_of, without_meaning

NOTHING_SEEN, NOTHING_KNOWN = Supply(), Known(None)


def make_plan(
    spec: LLMDeploymentSpec,
    profiles: Iterable[AcceleratorProfile],
    *,
    name: str,
    known: Known = NOTHING_KNOWN,
    draft: Model | None = None,
    supply: Supply = NOTHING_SEEN,
    running: Running | None = None,
    measurements: Measurements | None = None,
) -> Plan | Unplannable:
    """The plan for the deployment `name`, or one sentence on why there is none.

    `known`: of the model, and `draft`: of the draft model. `running`: where its pods are. `measurements`: what its
    engine measured the last time.
    """
    if message := cannot_do(spec, known.model):
        return Unplannable(Reason.INVALID_SPEC, message)
    there = {profile.metadata.name: profile for profile in profiles}
    plan = _made(spec, there, name, known, draft, supply, running, measurements)
    if isinstance(plan, Unplannable):
        return plan
    task = task_of(spec, known.model)
    return replace(plan, task=task, warnings=(*plan.warnings, *without_meaning(spec, task)))


def _made(
    spec: LLMDeploymentSpec,
    there: dict[str, AcceleratorProfile],
    name: str,
    known: Known,
    draft: Model | None,
    supply: Supply,
    running: Running | None,
    measurements: Measurements | None,
) -> Plan | Unplannable:
    model = known.model
    if model is None or unknown(model) or spec.engine.name not in PLANNED or unplanned_flags(spec):
        return _without_numbers(spec, there, name, model, supply, running)
    allowed = [each for each in usable(spec, there.values()) if runtime_for(spec.engine.name, each.spec.vendor)]
    if not allowed:
        return _no_profile(spec, there, name)
    if spec.engine.name == VLLM.name and (objection := too_long(spec, model)):
        return Unplannable(Reason.CONTEXT_TOO_LONG, f"vllm would not start: {objection}. Set it to that at most.")
    choice = choose(spec, allowed, model, supply, draft=draft, running=running, measurements=measurements)
    choice = replace(choice, objections={**choice.objections, **_other_objections(spec, there)})
    if not choice.options:
        message = explaining.nothing_fits(spec, choice, model, name)
        return Unplannable(Reason.NO_ACCELERATOR_FITS, message, explaining.rejected(spec, choice))
    return _planned(spec, choice, model, known.sources, supply, running)


def _no_profile(spec: LLMDeploymentSpec, known: dict[str, AcceleratorProfile], name: str) -> Unplannable:
    """None of the profiles that may be used exists, or the engine runs on none of them."""
    if spec.accelerator.profiles:
        return _none_can_be_taken(spec, known, [f"{p}: {o}." for p, o in _other_objections(spec, known).items()])
    if spec.engine.name == LLAMACPP.name:
        return Unplannable(Reason.PROFILE_MISSING, _no_cpu(name))
    message = f"There is no AcceleratorProfile on which {spec.engine.name} runs{_there_are(known)}: {name} needs one."
    return Unplannable(Reason.PROFILE_MISSING, message)


def unknown(model: Model) -> tuple[str, ...]:
    """Fields of spec.model.facts that planning needs and that no source has."""
    weights, experts = model.weights, model.experts
    is_known = {
        "parameters": weights is not None and weights.total > 0,
        "activeParameters": weights is None or weights.active > 0,
        "experts": experts is None or experts.count > 0,
        "layers": model.layer_count > 0,
        "hiddenSize": bool(model.hidden_size),
        "vocabularySize": bool(model.vocabulary_size),
        "contextLength": bool(model.context_length),
    }
    lacking = [field for field, known in is_known.items() if not known and field not in model.missing]
    return (*model.missing, *lacking)


def _other_objections(spec: LLMDeploymentSpec, known: dict[str, AcceleratorProfile]) -> dict[str, str]:
    """To profiles that the spec names and that can't be tried."""
    engine = spec.engine.name
    return {
        name: "there is no AcceleratorProfile of this name"
        if name not in known
        else f"{engine} doesn't run on hardware of vendor {known[name].spec.vendor}"
        for name in spec.accelerator.profiles
        if name not in known or runtime_for(engine, known[name].spec.vendor) is None
    }


def _planned(
    spec: LLMDeploymentSpec,
    choice: Choice,
    model: Model,
    sources: tuple[str, ...],
    supply: Supply,
    running: Running | None,
) -> Plan:
    option = choice.options[0]
    fit, candidate = option.fit, option.fit.candidate
    is_on_devices = candidate.profile.spec.vendor != CPU
    plan = _on(spec, candidate, supply, running)
    return replace(
        plan,
        max_concurrency=fit.max_concurrency,
        context_length=fit.context_length if fit.kv_tokens or fit.settings.slots else None,
        kv_cache_bytes=fit.kv_cache if fit.kv_tokens and _uses_size(spec, plan, model) else None,
        weights_bytes=_weights_to_expect(option) if is_on_devices else None,
        files_bytes=file_bytes(model),
        sized_by=fit.kv_cache or None,
        memory_share=_share(option) if _is_vllm_on_devices(plan) else None,
        memory=fit.memory,
        kv_tokens=fit.kv_tokens,
        concurrent_at_full_length=fit.at_full_length,
        speed=option.speed,
        why=explaining.why(spec, choice, model, sources),
        rejected=explaining.rejected(spec, choice),
        resources={**plan.resources, "requests": of_host(plan.gpus_per_replica) | plan.resources["requests"]},
        shared_memory=shared_memory(plan.gpus_per_replica),
        start_limit=start_limit(file_bytes(model)),
        warnings=(*explaining.warnings(spec, option.speed), *plan.warnings),
    )


def _share(option: Option) -> float | None:
    """Of the device as it was computed, since a measured size of it would be another share of the same budget."""
    return share_planned(option.computed.candidate.profile.spec, option.computed.memory.budget)


def _weights_to_expect(option: Option) -> int:
    """The computed ones, unless more were measured: the runtime refuses files that have far more."""
    computed, measured = option.computed.memory.weights, option.fit.memory.weights
    return measured if measured > computed * (1 + LEAST) else computed


def _uses_size(spec: LLMDeploymentSpec, plan: Plan, model: Model) -> bool:
    """Whether the engine takes the size of the KV cache from the plan.

    vLLM that shares a device measures it, because only then does it look at how much of its share is left. So does a
    model that sees images or videos: what they take isn't planned.
    """
    return spec.engine.name != LLAMACPP.name and plan.memory_share is None and not model.known_weights.encoders


def _is_vllm_on_devices(plan: Plan) -> bool:
    return plan.engine == VLLM.name and plan.vendor != CPU


def _on(spec: LLMDeploymentSpec, candidate: Candidate | None, supply: Supply, running: Running | None = None) -> Plan:
    """What follows from the profile and the number of devices alone; None: the ServingRuntime says what it needs."""
    engine, profile = spec.engine.name, candidate.profile if candidate else None
    tensor, pipeline = (candidate.tensor, candidate.pipeline) if candidate else parallelism(spec)
    vendor = profile.spec.vendor if profile else ""
    devices = candidate.devices if candidate else 0
    runtime = runtime_for(engine, vendor) or engine
    terms, warning = terms_on(spec, candidate, supply, running) if candidate else (spec, "")
    drivers = check_drivers(runtime, supply.of(candidate.name, terms.accelerator.spot) if candidate else None)
    return Plan(
        engine=engine,
        runtime=runtime,
        profile=profile.metadata.name if profile else "",
        vendor=vendor,
        tensor=tensor,
        pipeline=pipeline,
        gpus_per_replica=devices if vendor != CPU else 0,
        max_concurrency=concurrency(spec, profile, devices=tensor * pipeline),
        memory_share=share_of_replica(profile.spec) if profile else None,
        resources=requested(spec, profile, devices),
        node_terms=node_terms(terms, profile),
        node_selector=dict(spec.pod.node_selector),
        excluded_nodes=excluded_nodes(terms, profile, drivers),
        tolerations=tolerations(spec, profile),
        runtime_class=runtime_class(spec, profile),
        device_class=profile.spec.device_class if profile else None,
        warnings=(*filter(None, (warning, drivers.warning)), *only_spot_selected(terms)),
    )


# --- without the model's numbers -------------------------------------------------------------------------------------


def _without_numbers(
    spec: LLMDeploymentSpec,
    known: dict[str, AcceleratorProfile],
    name: str,
    model: Model | None,
    supply: Supply,
    running: Running | None,
) -> Plan | Unplannable:
    if spec.accelerator.profiles:
        return _first_possible(spec, spec.accelerator.profiles, known, model, supply, running)
    if needs_devices(spec.engine.name):
        return Unplannable(Reason.NO_ACCELERATOR_FITS, _cannot_choose(spec, known, name, model))
    if spec.engine.name == LLAMACPP.name:
        return _on_cpu(spec, known, name, model, supply, running)
    return _by_its_own_runtime(spec, model, supply)


def _by_its_own_runtime(spec: LLMDeploymentSpec, model: Model | None, supply: Supply) -> Plan:
    engine = spec.engine.name
    why = f"The spec names no accelerator profile, so the ServingRuntime {engine} itself says what it needs."
    return _unsized(spec, None, model, (why,), supply)


def _on_cpu(
    spec: LLMDeploymentSpec,
    known: dict[str, AcceleratorProfile],
    name: str,
    model: Model | None,
    supply: Supply,
    running: Running | None,
) -> Plan | Unplannable:
    cpus = [Candidate(each, 1, 1) for each in known.values() if each.spec.vendor == CPU]
    if not cpus:
        return Unplannable(Reason.PROFILE_MISSING, _no_cpu(name))
    cheapest_first = sorted(cpus, key=lambda each: (each.price, each.name))
    plan = _first_possible(spec, [each.name for each in cheapest_first], known, model, supply, running)
    if isinstance(plan, Unplannable):
        return plan
    why = (f"{plan.profile}: llamacpp runs on CPUs, and this is the cheapest profile of a CPU.", *plan.why[1:])
    return replace(plan, why=why)


def _no_cpu(name: str) -> str:
    return (
        f"{name} runs on CPUs, and there is no AcceleratorProfile of vendor CPU: "
        "let Slipway's chart bring it (accelerators.vendors.cpu), or write one."
    )


def _first_possible(
    spec: LLMDeploymentSpec,
    names: list[str],
    known: dict[str, AcceleratorProfile],
    model: Model | None,
    supply: Supply,
    running: Running | None,
) -> Plan | Unplannable:
    rejected: list[str] = []
    for each in names:
        candidate = Candidate(known[each], *parallelism(spec)) if each in known else None
        objection = "there is no AcceleratorProfile of this name"
        if candidate:
            objection = why_not(terms_on(spec, candidate, supply, running)[0], candidate, model, supply)
        if candidate and not objection:
            return _unsized(spec, candidate, model, _first(spec, each), supply, tuple(rejected), running)
        rejected.append(f"{each}: {objection}.")
    return _none_can_be_taken(spec, known, rejected)


def _none_can_be_taken(
    spec: LLMDeploymentSpec, known: dict[str, AcceleratorProfile], rejected: list[str]
) -> Unplannable:
    missing = bool(spec.accelerator.profiles) and not known.keys() & set(spec.accelerator.profiles)
    return Unplannable(
        Reason.PROFILE_MISSING if missing else Reason.NO_ACCELERATOR_FITS,
        f"No accelerator profile of the spec can be taken. {' '.join(rejected)} "
        f"Name another in accelerator.profiles{_there_are(known)}.",
        tuple(rejected),
    )


def _unsized(
    spec: LLMDeploymentSpec,
    candidate: Candidate | None,
    model: Model | None,
    why: tuple[str, ...],
    supply: Supply,
    rejected: tuple[str, ...] = (),
    running: Running | None = None,
) -> Plan:
    plan = _on(spec, candidate, supply, running)
    sentences = (*why, _not_looked_at(spec, model), *why_so_many(spec, plan.max_concurrency))
    return replace(plan, why=sentences, rejected=rejected, files_bytes=file_bytes(model) if model else None)


def _first(spec: LLMDeploymentSpec, profile: str) -> tuple[str, ...]:
    first = f"{profile}: the first profile of the spec on which {spec.engine.name} runs."
    policy = spec.accelerator.policy
    if policy == "InOrder" or len(spec.accelerator.profiles) < 2:
        return (first,)
    return first, f"Policy {policy} needs the model's size, so profiles are taken in the spec's order."


def _not_looked_at(spec: LLMDeploymentSpec, model: Model | None) -> str:
    if spec.engine.name not in PLANNED:
        return f"Whether the model fits into the memory was not looked at: {spec.engine.name} has rules of its own."
    if flags := unplanned_flags(spec):
        return (
            f"Whether the model fits into the memory was not looked at: {', '.join(flags)} of extraArgs changes that."
        )
    return f"Whether the model fits into the memory was not looked at: {_what_is_missing(model)}."


def _what_is_missing(model: Model | None) -> str:
    if model is None:
        return "nothing is known about its size; spec.model.facts can say it"
    fields = ", ".join(f"spec.model.facts.{each}" for each in unknown(model))
    return f"{fields} isn't known"


def _cannot_choose(
    spec: LLMDeploymentSpec, known: dict[str, AcceleratorProfile], name: str, model: Model | None
) -> str:
    if spec.engine.name not in PLANNED:
        return (
            f"Slipway can't choose an accelerator for {name}, because it doesn't know how much memory "
            f"{spec.engine.name} takes: name one or more in accelerator.profiles{_there_are(known)}."
        )
    if flags := unplanned_flags(spec):
        return (
            f"Slipway can't choose an accelerator for {name}, because it doesn't know how {', '.join(flags)} of "
            "extraArgs changes the memory: leave it out, or name one or more in accelerator.profiles"
            f"{_there_are(known)}."
        )
    return (
        f"Slipway can't choose an accelerator for {name}: {_what_is_missing(model)}. Give it, or name one or more in "
        f"accelerator.profiles{_there_are(known)}."
    )


def _there_are(known: dict[str, AcceleratorProfile]) -> str:
    if not known:
        return " (there are none: let Slipway's chart bring them, by accelerators.vendors)"
    return f" (there are {', '.join(sorted(known))})"
