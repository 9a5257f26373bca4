"""Pure: the whole world of one LLMDeployment → what there should be, and what its status should say."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from pydantic import ValidationError

from slipway.api.llmdeployment import LLMDeployment
from slipway.api.reasons import Reason
from slipway.kube.kinds import INFERENCE_SERVICE, Object
from slipway.observing import references
from slipway.observing.observation import Observation, observe
from slipway.observing.platform import remarks
from slipway.observing.pods import Pod
from slipway.observing.rollout import has_missing, is_updating, lacks_room
from slipway.observing.status import status_of
from slipway.observing.world import Lack, Refusal
from slipway.operator.planning import Plan, Unplannable, make_plan
from slipway.operator.reconciling.home import Home
from slipway.operator.reconciling.sight import Sight
from slipway.operator.rendering import Desired, Unrenderable, World, render
from slipway.operator.rendering.pinning import runtime_name
from slipway.operator.rendering.scaling import predictor_deployment

NOTHING = Desired(apply=())


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What there should be. Without a plan nothing is written, and what is there already stays as it is."""

    deployment: LLMDeployment | None  # None: it can't be read
    plan: Plan | Unplannable
    desired: Desired = NOTHING
    bug: Exception | None = None  # the error of ours that stands in the way


@dataclass(frozen=True, kw_only=True)
class Hindrance:
    """What kept the decision from being carried out."""

    refusals: tuple[Refusal, ...] = ()
    foreign: tuple[Object, ...] = field(default=())
    lacks: tuple[Lack, ...] = ()


def lacks_port(sight: Sight, decision: Decision) -> bool:
    """Only what can be made gets one, and where there is an activator."""
    return decision.desired is not NOTHING and sight.place is None and bool(sight.activators)


def decide(sight: Sight, home: Home) -> Decision:
    """One deployment on which the code fails must not stop the others: that is one more thing to report."""
    deployment = None
    try:
        deployment = LLMDeployment.model_validate(_as_written(sight.raw))
        return _decide(sight, deployment, home)
    except ValidationError as error:
        return Decision(deployment=deployment, plan=Unplannable(Reason.INVALID_SPEC, in_words(error)))
    except Exception as error:
        told = f"The operator failed on this object, which is a bug worth a report: {type(error).__name__}: {error}"
        return Decision(deployment=deployment, plan=Unplannable(Reason.INTERNAL_ERROR, told), bug=error)


def _as_written(raw: Object) -> Object:
    """What people want of it: nothing that a status says may stand in the way."""
    return {name: value for name, value in raw.items() if name != "status"}


def _decide(sight: Sight, deployment: LLMDeployment, home: Home) -> Decision:
    plan = make_plan(deployment.spec, sight.profiles, name=deployment.metadata.name)
    if isinstance(plan, Unplannable):
        return Decision(deployment=deployment, plan=plan)
    desired = render(deployment, plan, _world(sight, plan, deployment, home))
    if isinstance(desired, Unrenderable):
        return Decision(deployment=deployment, plan=Unplannable(desired.reason, desired.message))
    if sight.has_no_port:
        return Decision(deployment=deployment, plan=Unplannable(Reason.PORTS_EXHAUSTED, sight.has_no_port))
    of_keda = remarks(sight.view.keda) if deployment.spec.scaling.autoscaler == "KEDA" else ()
    plan = desired.plan or plan
    plan = replace(plan, why=(*plan.why, *desired.remarks, *of_keda))
    return Decision(deployment=deployment, plan=plan, desired=desired)


def _world(sight: Sight, plan: Plan, deployment: LLMDeployment, home: Home) -> World:
    made = predictor_deployment(deployment.metadata.name)
    return World(
        serving_runtime=sight.runtime(plan.runtime),
        pods_runtime=sight.runtime(named) if (named := runtime_name(sight.view.inference_service or {})) else None,
        inference_service=sight.view.inference_service,
        deployment=next((each for each in sight.view.deployments if each["metadata"]["name"] == made), None),
        kinds=frozenset(f"{kind.name}.{kind.group}" for kind in sight.kinds),
        slipway_namespace=home.namespace,
        prometheus_namespaces=home.prometheus_namespaces,
        scaled_object=sight.view.scaled_object,
        autoscaler=sight.view.autoscaler,
        activator=sight.activator,
        activator_service=sight.activator_service,
        activator_port=sight.place.port if sight.place else None,
        activator_reads_keys=sight.activator_reads_keys,
        has_ready=any(Pod(raw, sight.view).is_ready for raw in sight.view.pods),
        has_pods=any(raw["spec"].get("nodeName") for raw in sight.view.pods),
        has_missing=has_missing(sight.view),
        is_updating=is_updating(sight.view),
        lacks_room=lacks_room(sight.view),
        now=sight.view.now,
        version=home.version,
        status=sight.previous or {},
    )


def report(sight: Sight, decision: Decision, hindrance: Hindrance) -> tuple[Object, Observation]:
    """The status, and what it was made of."""
    view = replace(sight.view, refusals=hindrance.refusals, foreign=hindrance.foreign, lacks=hindrance.lacks)
    seen, plan = observe(decision.deployment, view), decision.plan
    if isinstance(plan, Plan):
        plan = replace(plan, why=(*plan.why, *references.remarks(hindrance.lacks)))
    desired = decision.desired
    beside = {"made": desired.made, "update": desired.update} if desired.made else None
    if any(each.kind == INFERENCE_SERVICE.name for each in hindrance.refusals):
        beside = None  # what was made before is what is there
    return status_of(sight.generation, plan, seen, sight.previous, view.now, beside=beside), seen


def in_words(error: ValidationError) -> str:
    """Each field with its value and what is wrong with it."""
    wrong = [
        f"{'.'.join(map(str, each['loc']))}: {each['msg'][0].lower()}{each['msg'][1:]}, not {each['input']!r}"
        for each in error.errors(include_url=False)
    ]
    return f"The object can't be read: {'; '.join(wrong)}. Apply the CRDs of this version, then correct the object."
