"""What is exposed as metrics of one LLMDeployment, read from its spec and its status. Pure.

A tenant may write both, so whatever becomes the value of a label is one of a few words, or short: nothing that is
written into an object makes more series of it than `Figures` has places.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

from pydantic import ValidationError

from slipway.api import units
from slipway.api.engine import EngineSpec, engine_name
from slipway.api.reasons import ConditionType, Reason, State
from slipway.api.scaling import ScalingSpec
from slipway.api.slo import SloSpec
from slipway.api.status import LONGEST_DURATION, ColdStart
from slipway.objects.kinds import Object
from slipway.objects.metadata import name_of
from slipway.observing.cause import reason_named
from slipway.observing.measured import missed_plan
from slipway.observing.objectives import FIELDS, Objectives, followed_times, objectives_of
from slipway.observing.phases import NOT_PHASES, length_of
from slipway.observing.uncounted import fields_uncounted
from slipway.observing.wake_estimate import expected_wake, last_cold_start, model_size

LONGEST_LABEL = 128  # characters, as many as a served name may have
PHASES = tuple(
    name for name in (field.alias or key for key, field in ColdStart.model_fields.items()) if name not in NOT_PHASES
)
AS_IT_SHOULD_BE = {
    ConditionType.READY: "True",
    ConditionType.PLANNED: "True",
    ConditionType.MODEL_LOADED: "True",
    ConditionType.SCALED: "True",
    ConditionType.REACHABLE: "True",
    ConditionType.WITHIN_BUDGET: "True",
    ConditionType.STALLED: "False",
}
"""The conditions that report a problem when they have the opposite status."""


class Replicas(NamedTuple):
    """Numbers of replicas: by the status, and the limits of the spec."""

    wanted: int
    ready: int
    warming: int
    min: int
    max: int


class Figures(NamedTuple):
    """It is kept for each of ten thousand LLMDeployments. None: unknown."""

    engine: str
    accelerator: str  # empty: no profile is planned
    model: str  # as clients name it
    state: State | None
    reason: Reason  # of Ready
    problems: tuple[tuple[ConditionType, Reason], ...]  # conditions that are not as they should be
    replicas: Replicas
    max_concurrency: int | None
    tokens_per_second: float | None
    devices: int | None
    plan_error: float | None  # a ratio
    measured_pod: str  # the name of the pod that has measured it
    cold_start: tuple[tuple[str, float], ...]  # seconds of each phase of the last one, and of all of them
    expected_cold_start: float
    objectives: Objectives | None  # of spec.slo
    wants_times: str  # when it was created, if its number of replicas is to follow times


def figures_of(deployment: Object) -> Figures:
    spec, status = deployment["spec"], deployment.get("status") or {}
    plan = status.get("plan") or {}
    conditions = {each["type"]: each for each in status.get("conditions") or []}
    ready = conditions.get(ConditionType.READY) or {}
    error, last_start = missed_plan(status), last_cold_start(deployment)
    return Figures(
        engine=_label(engine_name(spec)),
        accelerator=_label(plan.get("accelerator")),
        model=_label(spec["model"].get("servedName") or name_of(deployment)),
        state=next((each for each in State if each == status.get("state")), None),
        reason=reason_named(ready.get("reason", "")),
        problems=tuple(_problems(conditions)),
        replicas=_replicas(spec.get("scaling") or {}, status.get("replicas") or {}),
        max_concurrency=_number(plan.get("maxConcurrency")),
        tokens_per_second=_number((plan.get("expected") or {}).get("tokensPerSecond")),
        devices=_number(plan.get("gpusPerReplica")),
        plan_error=None if error is None else error / 100,
        measured_pod=_label((status.get("measured") or {}).get("pod")),
        cold_start=tuple(_cold_start(status.get("lastColdStart") or {})),
        expected_cold_start=expected_wake([] if last_start is None else [last_start], model_size(deployment)),
        objectives=_objectives(spec, fields_uncounted(status)),
        wants_times=str(deployment["metadata"].get("creationTimestamp")) if _wants_times(spec) else "",
    )


def _problems(conditions: Mapping[str, Object]) -> Iterator[tuple[ConditionType, Reason]]:
    for kind, good in AS_IT_SHOULD_BE.items():
        found = conditions.get(kind) or {}
        reason = reason_named(found.get("reason", ""))
        is_asleep = kind == ConditionType.MODEL_LOADED and reason == Reason.SCALED_TO_ZERO
        if found.get("status") in ("True", "False") and found["status"] != good and not is_asleep:
            yield kind, reason


def _replicas(scaling: Object, counted: Object) -> Replicas:
    limits = {name: ScalingSpec.model_fields[name].default for name in ("min_replicas", "max_replicas")}
    return Replicas(
        wanted=_number(counted.get("desired")) or 0,
        ready=_number(counted.get("ready")) or 0,
        warming=_number(counted.get("warmingUp")) or 0,
        min=_number(scaling.get("minReplicas", limits["min_replicas"])) or 0,
        max=_number(scaling.get("maxReplicas", limits["max_replicas"])) or 0,
    )


def _cold_start(phases: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The phases that the API knows, and their sum; nothing of a start that is impossibly long."""
    total = length_of(phases) if phases else None
    if total is None:
        return
    for name in PHASES:
        written = phases.get(name)
        with suppress(ValueError):
            if isinstance(written, str) and len(written) <= LONGEST_DURATION:
                yield name, units.seconds(written)
    yield "total", total


def _objectives(spec: Object, uncounted: Collection[str]) -> Objectives | None:
    """Those that the pods can count. None: there are none, or they can't be read, which the status says."""
    try:
        slo, engine = SloSpec.model_validate(spec["slo"]), EngineSpec.model_validate(spec.get("engine") or {})
    except (KeyError, ValidationError):
        return None
    found = objectives_of(slo, engine.name)
    return replace(
        found, boundaries={name: at for name, at in found.boundaries.items() if FIELDS[name] not in uncounted}
    )


def _wants_times(spec: Object) -> bool:
    scaling = spec.get("scaling") or {}
    with suppress(ValidationError):
        return bool(scaling.get("target") and followed_times(ScalingSpec.model_validate(scaling), engine_name(spec)))
    return False


def _number(value: Any) -> Any:
    """None for what isn't a number that counts something."""
    is_one = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_one and math.isfinite(value) and value >= 0 else None


def _label(value: Any) -> str:
    return value[:LONGEST_LABEL] if isinstance(value, str) else ""
