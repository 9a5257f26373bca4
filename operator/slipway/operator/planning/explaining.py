"""The plan in words: why this profile, how the memory is divided, what that allows, and why no other. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from slipway.api.llmdeployment import LLMDeploymentSpec
from slipway.api.units import seconds
from slipway.contract.engines import LLAMACPP, VLLM
from slipway.models.facts import Evidence, Model
from slipway.operator.planning import rejecting
from slipway.operator.planning.candidates import Candidate
from slipway.operator.planning.choosing import Choice, Option
from slipway.operator.planning.concurrency import why_so_many
from slipway.operator.planning.correcting import LEAST
from slipway.operator.planning.engines import CPU
from slipway.operator.planning.fitting import Fit, Misfit
from slipway.operator.planning.plan import Speed
from slipway.operator.planning.words import gib, listed, number, times

PARTS = {
    "total": "the device's memory",
    "weights": "weights",
    "activation": "the largest step",
    "other": "libraries",
    "graphs": "CUDA graphs",
    "outside": "what is in use besides",
    "kv_cache": "the KV cache",
}
"""Of the memory, in words."""


def why(spec: LLMDeploymentSpec, choice: Choice, model: Model, sources: tuple[str, ...]) -> tuple[str, ...]:
    """One sentence for each decision, the most important first."""
    chosen = choice.options[0]
    return (
        _this_profile(spec, choice),
        *_stays(spec, choice),
        *_is_full(chosen),
        _memory(spec, chosen.fit),
        *_cache(spec, chosen.fit, model),
        *_images(spec, model),
        *_requests(spec, chosen.fit),
        *_step(spec, chosen.fit),
        *([_speed(chosen.speed)] if chosen.speed else []),
        *_measured(chosen),
        _evidence(chosen, model, sources),
    )


def rejected(spec: LLMDeploymentSpec, choice: Choice) -> tuple[str, ...]:
    """Why no other profile was chosen: first those that fit, too."""
    chosen = choice.options[0] if choice.options else None
    others = [(each.fit.candidate.name, _but(spec, each, chosen)) for each in choice.options[1:] if chosen]
    return rejecting.rejected(choice, others)


def nothing_fits(spec: LLMDeploymentSpec, choice: Choice, model: Model, name: str) -> str:
    """That the engine would not start, how much is lacking where it comes closest, and ways out. Where a change of the
    spec is enough on a profile, it counts as closer than all on which none is."""
    ways = {each.candidate.name: choice.objections[each.candidate.name].partition(": ")[2] for each in choice.misfits}
    closest = min(choice.misfits, key=lambda each: (not ways[each.candidate.name], each.missing), default=None)
    if closest is None:
        reasons = " ".join(rejected(spec, choice))
        return f"No accelerator profile can run {name}. {reasons} Change the spec, or add nodes or profiles."
    longest = f"The longest context that fits there is {number(closest.longest)} tokens. " if closest.longest else ""
    changes = ways[closest.candidate.name]
    way_out = f"Any one of these is enough there: {changes}." if changes else _larger(closest)
    return (
        f"{spec.engine.name} would not start: {name} fits on no accelerator profile. On {closest.candidate.label}, "
        f"which comes closest, one request of {number(closest.wanted_length)} tokens lacks {gib(closest.missing)} of "
        f"memory{' per device' if closest.candidate.devices > 1 else ''} (weights take {gib(closest.memory.weights)} "
        f"of {gib(closest.memory.budget)}). {longest}{way_out}"
    )


def warnings(spec: LLMDeploymentSpec, speed: Speed | None) -> tuple[str, ...]:
    """Targets that the plan doesn't expect to meet."""
    target = spec.scaling.target
    if speed is None or target is None:
        return ()
    return tuple(_missed(target.ttft_p95, target.tpot_p95, speed))


def _missed(ttft: str | None, tpot: str | None, speed: Speed) -> Iterator[str]:
    if tpot and seconds(tpot) < speed.time_per_token:
        yield (
            f"scaling.target.tpotP95 is {tpot}, and a token is expected to take {_ms(speed.time_per_token)} even for a "
            "single request: choose a faster profile, more devices (parallelism.tensor) or FP8."
        )
    expected = speed.time_to_first_token(1024)
    if ttft and seconds(ttft) < expected:
        yield (
            f"scaling.target.ttftP95 is {ttft}, and the first token of a prompt of 1,024 tokens is expected after "
            f"{_ms(expected)} without others: choose a faster profile or more devices (parallelism.tensor)."
        )


# --- the parts -------------------------------------------------------------------------------------------------------


def _this_profile(spec: LLMDeploymentSpec, choice: Choice) -> str:
    chosen, count = choice.options[0], len(choice.options)
    label = chosen.fit.candidate.label
    if choice.stays:
        return f"{label}: the model runs there, and fits."
    if count == 1:
        return f"{label}: the only profile on which the model fits{_price(chosen)}."
    among = f"of {count} profiles on which the model fits"
    if spec.accelerator.policy == "InOrder":
        return f"{label}: the first of the spec's order, {among}{_price(chosen)}."
    if spec.accelerator.policy == "Fastest" and chosen.speed:
        return f"{label}: the fastest {among}, at {_ms(chosen.speed.time_per_token)} per token{_price(chosen)}."
    return f"{label}: the cheapest {among}{_price(chosen)}."


def _price(option: Option) -> str:
    return f", at {option.price:.2f} per hour" if option.price < float("inf") else ""


def _stays(spec: LLMDeploymentSpec, choice: Choice) -> Iterator[str]:
    if choice.stays:
        other = choice.options[1]
        yield (
            f"{other.fit.candidate.label} would be chosen now by policy {spec.accelerator.policy}{_price(other)}; a "
            "running model isn't moved. It moves when it has no replica, or if accelerator.profiles names only that "
            "profile."
        )


def _is_full(chosen: Option) -> Iterator[str]:
    if chosen.is_full:
        candidate = chosen.fit.candidate
        yield f"No node of {candidate.name} has {_free(candidate)} now, so a replica waits for one."


def _free(candidate: Candidate) -> str:
    is_on_cpus = candidate.profile.spec.vendor == CPU
    return "enough free CPUs and memory" if is_on_cpus else times(candidate.devices, "free device")


def _memory(spec: LLMDeploymentSpec, fit: Fit) -> str:
    memory, each = fit.memory, " of each device" if fit.candidate.devices > 1 else ""
    if fit.candidate.profile.spec.vendor == CPU:
        return (
            f"Of {gib(memory.total)} of memory, weights take {gib(memory.weights)}, the KV cache "
            f"{gib(memory.kv_cache)}, and the engine about {gib(memory.overhead)}."
        )
    if fit.candidate.profile.spec.shared_by > 1:
        each = f" that each of {fit.candidate.profile.spec.shared_by} replicas has of a device"
    return (
        f"{spec.engine.name} uses {gib(memory.budget)} of the {gib(memory.total)}{each}: weights "
        f"{gib(memory.weights)}, the largest step {gib(memory.activation)}, libraries {gib(memory.other)}, CUDA graphs "
        f"{gib(memory.graphs)}; {gib(memory.kv_cache)} are left for the KV cache."
    )


def _cache(spec: LLMDeploymentSpec, fit: Fit, model: Model) -> Iterator[str]:
    if not fit.kv_tokens:
        yield "The model keeps nothing of a request, so it needs no KV cache."
        return
    if spec.engine.name == LLAMACPP.name:
        yield f"Each of {times(fit.settings.slots, 'slot')} has a context of {number(fit.context_length)} tokens."
    else:
        yield (
            f"The cache holds {number(fit.kv_tokens)} tokens: {fit.at_full_length:.1f} requests of the full "
            f"{number(fit.context_length)}."
        )
    longest = model.longest_context or model.context_length or 0
    if spec.engine.context_length is None and fit.context_length < longest:
        yield (
            f"The context is {number(fit.context_length)} tokens of the {number(longest)} that the model can do; "
            "engine.contextLength sets another."
        )


def _images(spec: LLMDeploymentSpec, model: Model) -> Iterator[str]:
    if model.known_weights.encoders and spec.engine.name == VLLM.name:
        yield (
            "What images and videos take of the memory isn't planned: vLLM measures it at the start, so that the cache "
            "may hold fewer tokens."
        )


def _requests(spec: LLMDeploymentSpec, fit: Fit) -> tuple[str, ...]:
    if fit.max_concurrency == fit.settings.sequences or spec.engine.max_concurrency:
        return why_so_many(spec, fit.max_concurrency)
    return (
        f"A replica works on {times(fit.max_concurrency or 1, 'request')} at a time: the cache has room for no more, "
        "even if they are short. engine.maxConcurrency sets another number.",
    )


def _step(spec: LLMDeploymentSpec, fit: Fit) -> Iterator[str]:
    if spec.engine.max_batched_tokens:
        yield (
            f"A step computes {number(fit.settings.batched_tokens)} tokens at most, of all requests together, as "
            f"engine.maxBatchedTokens says; the largest step takes {gib(fit.memory.activation)} of memory."
        )


def _speed(speed: Speed) -> str:
    cost = (
        ""
        if speed.cost_per_million_tokens is None
        else f", which costs {speed.cost_per_million_tokens:.2f} per million tokens"
    )
    return (
        f"Expected: {_ms(speed.time_per_token)} per token for one request, {number(speed.tokens_per_second)} tokens "
        f"per second in all with many{cost}. {speed.formula}"
    )


def _measured(chosen: Option) -> Iterator[str]:
    """What is from the last start, and what that changes."""
    if chosen.is_too_small:
        yield (
            "By what its engine measured the last time it would not fit, although it ran here; so the plan is as it "
            "was computed."
        )
    memory, before = chosen.fit.memory, chosen.computed.kv_cache
    named = [word for name, word in PARTS.items() if memory.evidence.get(name) is Evidence.MEASURED]
    if named:
        changed = abs(chosen.fit.kv_cache - before) > LEAST * before
        instead = f", so the KV cache has {gib(chosen.fit.kv_cache)} instead of {gib(before)}" if changed else ""
        yield f"As its engine measured the last time: {listed(named)}{instead}."


def _evidence(chosen: Option, model: Model, sources: tuple[str, ...]) -> str:
    is_measured = Evidence.MEASURED in chosen.fit.memory.evidence.values()
    estimated = "everything else is" if is_measured else "steps, graphs and speed are"
    exact = model.evidence.get("parameters") is Evidence.EXACT
    told = " and ".join(sources) or "what is known of the model"
    return (
        f"The model's numbers are from {told}{', and exact' if exact else ''}; {estimated} estimated from measurements."
    )


def _but(spec: LLMDeploymentSpec, option: Option, chosen: Option) -> str:
    if option.is_full and not chosen.is_full:
        return f"fits, but no node has {_free(option.fit.candidate)}"
    if spec.accelerator.policy == "InOrder":
        return "fits, but comes later in the spec's order" if option.place > chosen.place else "fits"
    if spec.accelerator.policy == "Fastest" and option.speed and chosen.speed:
        return f"fits, but takes {_ms(option.speed.time_per_token)} per token"
    if option.price == float("inf"):
        return "fits, but has no price"
    return f"fits, but {option.fit.candidate.label} costs {option.price:.2f} per hour"


def _larger(misfit: Misfit) -> str:
    """A replica on CPUs has one node's, and parts of shared devices can't be combined."""
    if misfit.candidate.profile.spec.vendor == CPU or misfit.candidate.profile.spec.shared_by > 1:
        return "Use a smaller or quantized model, or add a profile with more memory."
    return (
        "Use a smaller or quantized model, add a profile with more memory, or nodes with more devices "
        f"(a node of {misfit.candidate.name} has {misfit.candidate.profile.spec.devices_per_node})."
    )


def _ms(duration: float) -> str:
    return f"{duration * 1e3:.1f} ms" if duration < 1 else f"{duration:.1f} s"
