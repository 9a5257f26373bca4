"""Which (Cluster)ServingRuntime the pods of a plan get. Decided from those that exist, so that a model that sleeps is
refused like one that runs."""

from __future__ import annotations

from slipway.api.names import RUNTIME_LABEL
from slipway.api.reasons import Reason
from slipway.contract.engines import OTHER_RUNTIMES
from slipway.objects.kinds import Object
from slipway.objects.metadata import labels_of
from slipway.observing.snapshot import Snapshot
from slipway.operator.planning import Plan
from slipway.operator.planning.engines import is_ours
from slipway.operator.rendering.desired import UnrenderableError
from slipway.operator.rendering.pinning import runtime_name


def runtime_of_pods(snapshot: Snapshot) -> Object | None:
    """The runtime that the live InferenceService names."""
    name = runtime_name(snapshot.inference_service or {})
    return snapshot.runtimes.get(name) if name else None


def runtime_of_plan(plan: Plan, snapshot: Snapshot) -> Object:
    """The runtime that the plan names; or that of the pods, if it is an older release's of the same engine and
    hardware. Never another one: the pods would get the arguments of an engine that they don't run."""
    found, older = snapshot.runtimes.get(plan.runtime), runtime_of_pods(snapshot)
    if found is None and older and labels_of(older).get(RUNTIME_LABEL) == plan.runtime:
        return older
    if found is None:
        raise UnrenderableError(_is_missing(plan), Reason.RUNTIME_MISSING)
    if problem := _unusable(found):
        named = f"{found.get('kind', 'ServingRuntime')} {plan.runtime}"
        raise UnrenderableError(f"The {named} {problem}, or choose another engine.name.", Reason.RUNTIME_MISSING)
    return found


def _unusable(runtime: Object) -> str:
    if not isinstance(spec := runtime.get("spec"), dict):
        return "has no spec, or is larger than 64 KiB: Slipway reads none that is larger. Make it smaller"
    return "is disabled: set its spec.disabled to false" if spec.get("disabled") else ""


def _is_missing(plan: Plan) -> str:
    remedy = (
        f"let Slipway's chart install it, by its value runtimes.{plan.runtime.removeprefix('slipway-')}.enabled"
        if is_ours(plan.engine) or plan.engine in OTHER_RUNTIMES
        else "create one, or choose vllm or llamacpp in engine.name, which are part of Slipway"
    )
    return f"There is no ServingRuntime or ClusterServingRuntime {plan.runtime}: {remedy}."
