"""Pure: the snapshot of one LLMDeployment → what there should be, and what its status should say."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from pydantic import ValidationError

from slipway.api.llmdeployment import LLMDeployment
from slipway.api.reasons import Reason
from slipway.api.schema import LONGEST_LINE
from slipway.objects.kinds import INFERENCE_SERVICE, Object
from slipway.observing import references
from slipway.observing.compile_report import last_start
from slipway.observing.inspection_record import as_status, record_in
from slipway.observing.measured import Measurement, is_measured, measured_status
from slipway.observing.objectives import status_of_slo
from slipway.observing.observation import Observation, observe
from slipway.observing.platform import remarks
from slipway.observing.push_record import PushRecord
from slipway.observing.snapshot import Snapshot
from slipway.observing.status import status_of, with_compile_cache
from slipway.operator.installation import Installation
from slipway.operator.planning import Plan, Supply, Unplannable
from slipway.operator.planning.measured import measured_key
from slipway.operator.reconciling.asking import (
    Elsewhere,
    Question,
    holds_back,
    question_for,
    with_hub,
    with_question,
)
from slipway.operator.reconciling.inspections import (
    Inspecting,
    decide_inspection,
    known_files,
    need_of,
    with_inspection,
)
from slipway.operator.reconciling.model_images import decide_image, known_image, without_pods
from slipway.operator.reconciling.planned import Planned, planned
from slipway.operator.reconciling.push_tries import Pushing
from slipway.operator.reconciling.pushes import decide_push, known_push, without_plan
from slipway.operator.rendering import Desired, Unrenderable, render

NOTHING = Desired(apply=())
NOWHERE = Elsewhere()
NOTHING_SEEN = Supply()


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What there should be. Without a plan nothing is written, and existing objects stay as they are."""

    deployment: LLMDeployment | None  # None: it is invalid
    plan: Plan | Unplannable
    planned: Planned | None = None  # the plan before the rest was decided, and what it was made from
    desired: Desired = NOTHING
    wants_port_at: tuple[str, ...] = ()  # the activators that may give it a port; empty: it has one, or needs none
    inspecting: Inspecting = field(default_factory=Inspecting)  # what is known and done about the model's files
    pushing: Pushing = field(default_factory=Pushing)  # and about the image of compiled code
    imaging: Pushing = field(default_factory=Pushing)  # and about that of the model's files
    question: Question | None = None  # to the Hub, about the model
    look_again_at: datetime | None = None
    bug: Exception | None = None  # the exception, if the code failed

    @property
    def inference_service(self) -> Object | None:
        """As it is to be; None: nothing says how pods are made."""
        return next((each.manifest for each in self.desired.apply if each.kind == INFERENCE_SERVICE), None)


def decide(
    snapshot: Snapshot,
    installation: Installation,
    *,
    supply: Supply = NOTHING_SEEN,
    before: Planned | None = None,
    elsewhere: Elsewhere = NOWHERE,
    asked: Question | None = None,
    no_port: str = "",
) -> Decision:
    """`supply`: what the nodes have. `before`: its last plan. `elsewhere`: what a site and the Hub know of models.
    `asked`: the last question to the Hub. `no_port`: why no activator has a port for it.

    If the code fails on one LLMDeployment, the others must go on, so that the failure becomes a part of the decision.
    """
    deployment, known = None, Inspecting(record=record_in(snapshot.status))
    try:
        deployment = LLMDeployment.model_validate(_without_status(snapshot.llm_deployment))
        record = with_hub(known_files(deployment, snapshot), deployment, elsewhere, snapshot)
        known_plan = planned(snapshot, deployment, supply, before, record, elsewhere.site)
        need = need_of(deployment, snapshot, known_plan.known.model, known_plan.plan)
        known = decide_inspection(deployment, snapshot, record, need)
        plan = with_inspection(known_plan.plan, known, need)
        question = question_for(record, deployment, elsewhere, snapshot, lacks=need.lacks, before=asked)
        again_at = None
        if question:
            answer = elsewhere.answer(deployment)
            plan = with_question(plan, question, answer, snapshot)
            again_at = question.answered_by if holds_back(question, answer, snapshot.now) else None
        snapshot = replace(
            snapshot, push=known_push(deployment, snapshot), image_push=known_image(deployment, snapshot)
        )
        decision = _decide(snapshot, deployment, installation, plan, no_port)
        decision = _with_image_of_model(_with_push(decision, snapshot), snapshot)
        return replace(decision, planned=known_plan, inspecting=known, question=question, look_again_at=again_at)
    except ValidationError as error:
        invalid = Unplannable(Reason.INVALID_SPEC, why_invalid(error))
        return Decision(deployment=deployment, plan=invalid, inspecting=known)
    except Exception as error:
        message = f"The operator failed on this object; please report this bug: {type(error).__name__}: {error}"
        failed = Unplannable(Reason.INTERNAL_ERROR, message)
        return Decision(deployment=deployment, plan=failed, inspecting=known, bug=error)


def _with_push(decision: Decision, snapshot: Snapshot) -> Decision:
    """Without pods that could be made, or once the budget is spent, no Job goes on, and what was pushed is
    remembered."""
    record, made = snapshot.push or PushRecord(), decision.desired.made
    if decision.deployment is None:
        return replace(decision, pushing=Pushing(record=record))
    if made is None or (snapshot.budget and snapshot.budget.keeps_asleep):
        return replace(decision, pushing=without_plan(decision.deployment, snapshot, record))
    return replace(decision, pushing=decide_push(decision.deployment, snapshot, record, str(made.get("pods") or "")))


def _with_image_of_model(decision: Decision, snapshot: Snapshot) -> Decision:
    """The same for the model's files."""
    record, deployment = snapshot.image_push or PushRecord(), decision.deployment
    if deployment is None:
        return replace(decision, imaging=Pushing(record=record))
    if decision.inference_service is None:
        return replace(decision, imaging=without_pods(deployment, snapshot, record))
    return replace(decision, imaging=decide_image(deployment, snapshot, record, decision.inference_service))


def _without_status(llm_deployment: Object) -> Object:
    """An invalid status must not make the object invalid."""
    return {name: value for name, value in llm_deployment.items() if name != "status"}


def _decide(
    snapshot: Snapshot,
    deployment: LLMDeployment,
    installation: Installation,
    plan: Plan | Unplannable,
    no_port: str,
) -> Decision:
    if isinstance(plan, Unplannable):
        return Decision(deployment=deployment, plan=plan)
    desired = render(deployment, plan, snapshot, installation)
    if isinstance(desired, Unrenderable):
        return Decision(deployment=deployment, plan=Unplannable(desired.reason, desired.message))
    if no_port:
        return Decision(deployment=deployment, plan=Unplannable(Reason.PORTS_EXHAUSTED, no_port))
    of_keda = remarks(snapshot.keda) if deployment.spec.scaling.autoscaler == "KEDA" else ()
    plan = desired.plan or plan
    return Decision(
        deployment=deployment,
        plan=replace(plan, why=(*plan.why, *desired.remarks, *of_keda)),
        desired=desired,
        wants_port_at=() if snapshot.port else tuple(snapshot.activators),
    )


def report(
    snapshot: Snapshot, decision: Decision, measurement: Measurement | None = None
) -> tuple[Object, Observation]:
    """The status, and the observation that it was made from. `snapshot`: with what stood in the way; `measurement`: of
    a load that the status doesn't have yet."""
    seen, plan = observe(decision.deployment, snapshot), decision.plan
    if isinstance(plan, Plan):
        plan = replace(plan, why=(*plan.why, *references.remarks(snapshot.unmet)))
    desired = decision.desired
    made = {"made": desired.made, "update": desired.update} if desired.made else None
    if any(each.kind == INFERENCE_SERVICE for each in snapshot.refusals):
        made = None  # the pods are still those of before
    is_news = measurement and not is_measured(snapshot.status, measurement.load)
    measured = _measured(snapshot, decision, measurement) if measurement and is_news else None
    status = status_of(
        snapshot.generation,
        plan,
        seen,
        snapshot.status,
        snapshot.now,
        made=made,
        measured=measured,
        model=as_status(decision.inspecting.record),
    )
    status = with_compile_cache(status, _compile_cache(snapshot, decision, measurement))
    model_cache = _model_cache(snapshot, decision)
    slo = _slo(decision.deployment)
    further = {"modelCache": model_cache, "slo": slo}
    return {**status, **{name: each for name, each in further.items() if each}}, seen


def _slo(deployment: LLMDeployment | None) -> Object | None:
    """`status.slo`."""
    if deployment is None or deployment.spec.slo is None:
        return None
    return status_of_slo(deployment.spec.slo, deployment.spec.engine.name)


def _compile_cache(snapshot: Snapshot, decision: Decision, measurement: Measurement | None) -> Object | None:
    """`status.compileCache`. Without a plan nothing is known of it, and the last one stays."""
    before = (snapshot.status or {}).get("compileCache")
    placed = decision.desired.compile_cache if decision.desired is not NOTHING else before
    if placed is None:
        return None
    if decision.desired is not NOTHING:
        placed = _with_image(placed, decision.pushing)
    report = measurement.compiled if measurement else None
    if measurement and report:
        load = measurement.load
        return {**placed, "lastStart": last_start(report, pod=load.pod, started_at=load.started_at)}
    known = before.get("lastStart") if isinstance(before, dict) else None
    return {**placed, **({"lastStart": known} if known else {})}


def _model_cache(snapshot: Snapshot, decision: Decision) -> Object | None:
    """`status.modelCache`. Without a plan nothing is known of it, and the last one stays."""
    before: Object | None = (snapshot.status or {}).get("modelCache")
    if decision.desired is NOTHING:
        return before
    placed = decision.desired.model_cache
    return _with_image(placed, decision.imaging) if placed else placed


def _with_image(placed: Object, pushing: Pushing) -> Object:
    """The status of a cache with what is done about an image that a Job pushes, and what is remembered of it."""
    remembered = {**placed, **pushing.record.as_status()}
    if not pushing.message:
        return remembered
    return {**remembered, "message": f"{placed.get('message') or ''} {pushing.message}".strip()[:LONGEST_LINE]}


def _measured(snapshot: Snapshot, decision: Decision, measurement: Measurement) -> Object:
    """Compared with the plan, if the pod was made by this one."""
    plan, made_by = decision.plan, measurement.load.plan
    current = plan if isinstance(plan, Plan) and plan.key == made_by else None
    profile = next((each for each in snapshot.profiles if current and each.metadata.name == current.profile), None)
    model = decision.planned.known.model if decision.planned else None
    return measured_status(measurement, current, measured_key(made_by, model, profile), snapshot.status)


def why_invalid(error: ValidationError) -> str:
    """Each field with its value and what is wrong with it."""
    wrong = [
        f"{'.'.join(map(str, each['loc']))}: {each['msg'][0].lower()}{each['msg'][1:]}, not {each['input']!r}"
        for each in error.errors(include_url=False)
    ]
    return f"The object is invalid: {'; '.join(wrong)}. Apply the CRDs of this version, then correct the object."
