"""How the objectives of `spec.slo` are counted: each at a boundary of the engine's histogram. Pure.

A histogram doesn't keep single times, only how many are at or below each boundary. So an objective is counted at the
smallest boundary that isn't below its target. The engines that Slipway builds in have the same boundaries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from slipway.api import units
from slipway.api.llmdeployment import LLMDeploymentSpec
from slipway.api.scaling import ScalingSpec
from slipway.api.slo import TPOT_BOUNDS, TTFT_BOUNDS, SloSpec
from slipway.contract.buckets import OF_TIMES
from slipway.contract.engine import Engine
from slipway.contract.engines import ENGINES, LLAMACPP, OTHERS
from slipway.objects.kinds import Object

SHARES = {"ttft": 0.95, "tpot": 0.95, "e2e": 0.99}
FOLLOWED_BOUNDS = {"ttft": TTFT_BOUNDS, "tpot": TPOT_BOUNDS}
FIELDS = {"ttft": "ttftP95", "tpot": "tpotP95", "e2e": "e2eP99"}


@dataclass(frozen=True, kw_only=True)
class Objectives:
    """What is counted of one `spec.slo`; it is kept for each LLMDeployment that has any."""

    boundaries: Mapping[str, float]  # seconds, by ttft, tpot and e2e
    availability: float | None  # a share
    window: float  # seconds


def objectives_of(slo: SloSpec, engine_name: str) -> Objectives:
    """`engine_name`: as `engine.name` has it."""
    engine = engine_named(engine_name)
    is_ours = engine is not None and engine.built_in
    targets = _targets(slo) if is_ours else {}
    return Objectives(
        boundaries={name: boundary_for(name, target) for name, target in targets.items()},
        availability=slo.availability_share if is_ours else None,
        window=units.seconds(slo.window),
    )


def status_of_slo(slo: SloSpec, engine_name: str) -> Object:
    """`status.slo`."""
    boundaries, advice = objectives_of(slo, engine_name).boundaries, list(_advice(slo, engine_named(engine_name)))
    written = {FIELDS[name]: label(boundary) for name, boundary in boundaries.items()}
    return {**({"boundaries": written} if written else {}), **({"advice": advice} if advice else {})}


def engine_named(name: str) -> Engine | None:
    """What is known of it; None for a ServingRuntime of the user's own."""
    return ENGINES.get(name) or OTHERS.get(name)


def histograms_of(engine_name: str) -> Mapping[str, tuple[str, ...]]:
    """The names that the engine's histograms of times may have, by ttft, tpot and e2e; those that it has."""
    engine = engine_named(engine_name)
    names = {name: getattr(engine.metrics, name) for name in SHARES} if engine else {}
    return {name: metrics for name, metrics in names.items() if metrics}


def followed_targets(spec: LLMDeploymentSpec) -> str:
    """The times that the number of replicas follows, for people; empty if it follows none."""
    times = followed_times(spec.scaling, spec.engine.name)
    return " and ".join(f"{FIELDS[name]} {time}" for name, time in times.items())


def followed_times(scaling: ScalingSpec, engine_name: str) -> dict[str, str]:
    """Those that the engine's histograms show."""
    histograms = histograms_of(engine_name)
    return {name: time for name, time in followable(scaling).items() if name in histograms}


def target_times(scaling: ScalingSpec) -> dict[str, str]:
    """Of its target, by ttft and tpot."""
    target = scaling.target
    times = {"ttft": target.ttft_p95, "tpot": target.tpot_p95} if target else {}
    return {name: time for name, time in times.items() if time}


def followable(scaling: ScalingSpec) -> dict[str, str]:
    """Those that the activator can tell from histograms; only KEDA queries it."""
    times = target_times(scaling) if scaling.autoscaler == "KEDA" else {}
    return {name: time for name, time in times.items() if is_measurable(name, time)}


def is_measurable(objective: str, time: str) -> bool:
    least, most = FOLLOWED_BOUNDS[objective]
    return units.seconds(least) <= units.seconds(time) <= units.seconds(most)


def boundary_for(objective: str, target: str) -> float:
    """The API allows no target above the largest."""
    boundaries, wanted = OF_TIMES[objective], units.seconds(target)
    return next((boundary for boundary in boundaries if boundary >= wanted), boundaries[-1])


def label(boundary: float) -> str:
    """As `le` has it in the metrics of Python programs, so that queries can join on it."""
    return str(float(boundary))


def _targets(slo: SloSpec) -> dict[str, str]:
    targets = {"ttft": slo.ttft_p95, "tpot": slo.tpot_p95, "e2e": slo.e2e_p99}
    return {name: target for name, target in targets.items() if target}


def _advice(slo: SloSpec, engine: Engine | None) -> Iterator[str]:
    targets = _targets(slo)
    if engine is None or not engine.built_in:
        fields = [*(FIELDS[name] for name in targets), *(["availability"] if slo.availability else [])]
        yield (
            f"{', '.join(fields)}: not counted, because {engine.title if engine else 'the runtime in engine.name'} has "
            "other metrics than Slipway's own engines; objectives need the engine vllm or llamacpp."
        )
        return
    for name, target in targets.items():
        boundary = boundary_for(name, target)
        if boundary > units.seconds(target):
            yield f"{FIELDS[name]}: counted at {label(boundary)} s, the histogram's next boundary above {target}."
        if name != "e2e" and engine.name == LLAMACPP.name:
            yield f"{FIELDS[name]}: of {engine.title}, only streamed answers are counted."
