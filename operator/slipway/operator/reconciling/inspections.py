"""Pure: whether the files of a model are to be read by a Job, and what its status says about it.

Only where the planner lacks a number that the files would say, the chart allows Jobs in the namespace, and the source
can be mounted. A model that has a plan without these numbers runs meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from pydantic import ValidationError

from slipway.api.llmdeployment import LLMDeployment
from slipway.api.reasons import Reason
from slipway.api.status import InspectionFailure, ModelStatus
from slipway.models.facts import Model
from slipway.objects.kinds import Object
from slipway.objects.metadata import controller_of, created_at, is_being_deleted, name_of
from slipway.observing.cause import Cause, reason_named
from slipway.observing.inspection import Reported, outcome_of
from slipway.observing.inspection_record import (
    Source,
    failure_for,
    is_read,
    next_try,
    of_files,
    record_in,
    source_of,
    with_failure,
    with_report,
)
from slipway.observing.jobs import SOON, Failed, Running
from slipway.observing.observation import desired_replicas
from slipway.observing.snapshot import Inspection, Snapshot
from slipway.operator.installation import JOBS_VALUE
from slipway.operator.planning import Plan, Unplannable
from slipway.operator.planning.fitting import PLANNED
from slipway.operator.planning.make import unknown
from slipway.operator.rendering import Child
from slipway.operator.rendering.inspection import (
    can_be_read,
    claim_with_files,
    inspection_job,
    is_job_name,
    job_name,
)
from slipway.operator.rendering.runtimes import engine_container

MOST_AT_A_TIME = 8  # Jobs of one namespace: many new models must not fill a cluster with pods
ON_ONE_NODE, IN_ONE_POD = "ReadWriteOnce", "ReadWriteOncePod"
STARTS = Cause(Reason.READING_MODEL, "A Job that reads the headers of the model's files is being created")


@dataclass(frozen=True, kw_only=True)
class Inspecting:
    """What is known of the model's files, and what is to be done about them."""

    record: ModelStatus = field(default_factory=ModelStatus)  # `status.model`
    start: Child | None = None
    ahead: int = 0  # inspections for which it waits
    remove: tuple[Object, ...] = ()  # Jobs of ours that nothing needs any more
    cause: Cause | None = None  # why the planner lacks numbers; None: it doesn't, or the files don't say them
    look_again_at: datetime | None = None

    def failed(self, deployment: LLMDeployment, cause: Cause, now: datetime) -> Inspecting:
        """The same, after the Job could not be created."""
        return replace(self, record=with_failure(self.record, source_of(deployment), cause, now))


@dataclass(frozen=True, kw_only=True)
class Need:
    """What the planner made of what is known."""

    lacks: bool  # a number that the files may say
    is_planned: bool  # there is a plan all the same
    is_wanted: bool = False  # a replica, now


def need_of(deployment: LLMDeployment, snapshot: Snapshot, model: Model | None, plan: Plan | Unplannable) -> Need:
    """`model`: all that is known of it."""
    return Need(
        lacks=deployment.spec.engine.name in PLANNED and (model is None or bool(unknown(model))),
        is_planned=isinstance(plan, Plan),
        is_wanted=desired_replicas(deployment, snapshot) > 0,
    )


@dataclass(frozen=True, kw_only=True)
class _Model:
    """One model, while it is decided what to do."""

    deployment: LLMDeployment
    source: Source
    record: ModelStatus
    snapshot: Snapshot

    def name_of_try(self, number: int) -> str:
        return job_name(self.deployment, self.source, number)

    @property
    def failure(self) -> InspectionFailure | None:
        return failure_for(self.record, self.source)

    @property
    def tries(self) -> int:
        return self.failure.tries if self.failure else 0

    def jobs(self) -> tuple[Object, ...]:
        """Ours alone: whatever its labels, a Job that another owner controls, or none, is never taken for ours."""
        seen = self.snapshot.inspection or Inspection()
        metadata = self.deployment.metadata
        ours = (each for each in seen.jobs.values() if (controller_of(each) or {}).get("uid") == metadata.uid)
        return tuple(each for each in ours if is_job_name(name_of(each), metadata.name))

    def current_job(self) -> Object | None:
        if not (jobs := self.jobs()):
            return None
        name = self.name_of_try(self.tries + 1)
        return next((job for job in jobs if name_of(job) == name and not is_being_deleted(job)), None)

    def jobs_but(self, *names: str) -> tuple[Object, ...]:
        return tuple(job for job in self.jobs() if name_of(job) not in names and not is_being_deleted(job))


# --- what is known ---------------------------------------------------------------------------------------------------


def known_files(deployment: LLMDeployment, snapshot: Snapshot) -> ModelStatus:
    """What was read before, and what the Job has reported that has just ended."""
    record, source = record_in(snapshot.status), source_of(deployment)
    model = _Model(deployment=deployment, source=source, record=record, snapshot=snapshot)
    job = model.current_job()
    match outcome_of(job, snapshot) if job else None:
        case Reported(facts):
            return with_report(source, facts, snapshot.now)
        case Failed(cause):
            return with_failure(record, source, cause, snapshot.now)
    return record


def job_in_use(snapshot: Snapshot) -> Object | None:
    """The Job that reads the model's files now; None: there is none, or what it finds isn't needed."""
    try:
        deployment = LLMDeployment.model_validate(
            {name: each for name, each in snapshot.llm_deployment.items() if name != "status"}
        )
    except ValidationError:
        return None
    record, source = record_in(snapshot.status), source_of(deployment)
    if is_read(record, source):
        return None
    return _Model(deployment=deployment, source=source, record=record, snapshot=snapshot).current_job()


# --- what the status says --------------------------------------------------------------------------------------------

LESS_IMPORTANT = (Reason.NO_ACCELERATOR_FITS, Reason.PAUSED, Reason.RUNTIME_MISSING)
"""Reasons why no Job is started that don't replace the planner's own."""


def with_inspection(plan: Plan | Unplannable, inspecting: Inspecting, need: Need) -> Plan | Unplannable:
    """The plan, or why there is none, with what is done about the numbers that it lacks."""
    cause = inspecting.cause
    if cause is None or not need.lacks:
        return plan
    sentence = f"{cause.message.rstrip('.')}."
    if isinstance(plan, Plan):
        return replace(plan, why=(*plan.why, sentence))
    if plan.reason != Reason.NO_ACCELERATOR_FITS:
        return plan
    if cause.reason == Reason.READING_MODEL:
        return replace(plan, reason=cause.reason, message=f"{sentence} The plan follows.")
    if cause.reason in LESS_IMPORTANT:
        return replace(plan, message=f"{plan.message} {sentence}")
    return replace(plan, reason=cause.reason, message=f"{sentence} {plan.message}")


# --- what is to be done ----------------------------------------------------------------------------------------------


def decide_inspection(deployment: LLMDeployment, snapshot: Snapshot, record: ModelStatus, need: Need) -> Inspecting:
    """`record`: what `known_files` has returned, with which `need` was found."""
    inspecting = _decided(deployment, snapshot, record, need)
    is_closed = snapshot.inspection is not None and snapshot.inspection.is_closed
    return replace(inspecting, remove=()) if is_closed else inspecting


def _decided(deployment: LLMDeployment, snapshot: Snapshot, record: ModelStatus, need: Need) -> Inspecting:
    source = source_of(deployment)
    model = _Model(deployment=deployment, source=source, record=record, snapshot=snapshot)
    if is_read(record, source):
        is_stored = is_read(record_in(snapshot.status), source)  # before, the Job's pod is the only one that knows
        return Inspecting(record=record, remove=model.jobs_but() if is_stored else ())
    is_again = record.digest == source.digest and of_files(record)  # files that were read before are to be read again
    if not (need.lacks or is_again) or not can_be_read(deployment.spec.model.uri):
        return Inspecting(record=record, remove=model.jobs_but())
    if snapshot.inspection is None:
        return Inspecting(record=record, cause=_not_allowed(deployment))
    if job := model.current_job():
        return _running(model, job)
    return _waiting(model) or _starting(model, snapshot.inspection, need)


def _running(model: _Model, job: Object) -> Inspecting:
    outcome = outcome_of(job, model.snapshot)
    why = outcome.cause if isinstance(outcome, Running) else None
    since = created_at(job)
    text = f"Job {name_of(job)} reads the headers of the model's files{f' since {since:%H:%M:%S} UTC' if since else ''}"
    return Inspecting(
        record=model.record,
        remove=model.jobs_but(name_of(job)),
        cause=Cause(Reason.READING_MODEL, f"{text}; {why.reason}: {why.message}" if why else text),
        look_again_at=model.snapshot.now + SOON,
    )


def _waiting(model: _Model) -> Inspecting | None:
    """For the next try, if there is one; None: it is due."""
    failure, now = model.failure, model.snapshot.now
    if failure is None:
        return None
    at = next_try(failure, now)
    if at is not None and at <= now:
        return None
    again = f"next try at {at:%H:%M:%S} UTC" if at else "set slipway.dev/sync to a new value to have it tried again"
    message = f"The model's files could not be read ({_counted(failure.tries)}, {again}): {failure.message}"
    return Inspecting(
        record=model.record,
        remove=model.jobs_but(model.name_of_try(failure.tries)),  # whose log may help
        cause=Cause(reason_named(failure.reason), message, final=True),
        look_again_at=at,
    )


def _starting(model: _Model, seen: Inspection, need: Need) -> Inspecting:
    name = model.name_of_try(model.tries + 1)
    if seen.is_closed:
        return Inspecting(record=model.record, cause=_no_rights(model.deployment.metadata.namespace))
    obstacle = _obstacle(model.deployment, seen) or _volume_in_use(model, seen, need)
    if obstacle or seen.runtime is None:
        return Inspecting(record=model.record, remove=model.jobs_but(name), cause=obstacle)
    if seen.ahead:
        return _in_line(model, seen.ahead, model.jobs_but(name))
    node = None if _is_shared(seen) else _node_of_replicas(model.snapshot)
    return Inspecting(
        record=model.record,
        start=inspection_job(model.deployment, seen.runtime, name=name, node=node),
        remove=model.jobs_but(name),
        cause=STARTS,
        look_again_at=model.snapshot.now + SOON,
    )


def _in_line(model: _Model, ahead: int, remove: tuple[Object, ...]) -> Inspecting:
    namespace = model.deployment.metadata.namespace
    of_namespace = f"of namespace {namespace} before it, of which {MOST_AT_A_TIME} run at a time"
    message = f"The Job that reads the headers of the model's files waits for {ahead} inspections {of_namespace}"
    return Inspecting(record=model.record, ahead=ahead, remove=remove, cause=Cause(Reason.READING_MODEL, message))


# --- what prevents it now ---------------------------------------------------------------------------------------------


def _not_allowed(deployment: LLMDeployment) -> Cause:
    namespace = deployment.metadata.namespace
    message = (
        f"Slipway may not read the model's files by a Job: add {namespace} to {JOBS_VALUE} of its chart to allow it"
    )
    return Cause(Reason.NO_ACCELERATOR_FITS, message)


def _no_rights(namespace: str) -> Cause:
    rights = f"Slipway's rights on Jobs in namespace {namespace} are gone, so it can't read the model's files"
    remedy = f"restore the Role and the RoleBinding slipway-operator-inspection there, or remove it from {JOBS_VALUE}"
    return Cause(Reason.PERMISSION_DENIED, f"{rights}: {remedy}", final=True)


def _obstacle(deployment: LLMDeployment, seen: Inspection) -> Cause | None:
    if deployment.is_paused:
        return Cause(Reason.PAUSED, "The model's files are not read while the annotation slipway.dev/paused is set")
    if seen.runtime is None or not engine_container(seen.runtime).get("image"):
        message = "No ClusterServingRuntime of Slipway has an image to read the model's files: enable one of its chart"
        return Cause(Reason.RUNTIME_MISSING, message, final=True)
    name = claim_with_files(deployment.spec.model.uri)
    return _obstacle_of_claim(name, seen.claim) if name else None


def _obstacle_of_claim(name: str, claim: Object | None) -> Cause | None:
    """A claim without a volume has no files, and the first pod would decide in which zone it gets one."""
    if claim is None:
        named = f"spec.model.uri names PersistentVolumeClaim {name}"
        message = f"{named}, which doesn't exist: create it, or correct the name"
        return Cause(Reason.POD_CONFIG_ERROR, message, final=True)
    if (claim.get("status") or {}).get("phase") != "Bound":
        message = f"PersistentVolumeClaim {name} has no volume yet: write the model's files to it"
        return Cause(Reason.VOLUME_NOT_READY, message)
    return None


def _volume_in_use(model: _Model, seen: Inspection, need: Need) -> Cause | None:
    """A volume for one node must not be attached to another while a replica uses it, or is about to."""
    if _is_shared(seen):
        return None
    is_used, is_needed = bool(_node_of_replicas(model.snapshot)), need.is_wanted or bool(model.snapshot.pods)
    if is_used and IN_ONE_POD in _access_modes(seen):
        message = "The model's files are read when no replica runs: their volume can be used by one pod at a time"
        return Cause(Reason.VOLUME_NOT_READY, message)
    if is_needed and need.is_planned and not is_used:
        message = "The model's files are read once a replica has a node: their volume can be used on one node at a time"
        return Cause(Reason.VOLUME_NOT_READY, message)
    return None


def _is_shared(seen: Inspection) -> bool:
    """Whether pods on several nodes can use the volume; a source without a claim is downloaded by each pod."""
    modes = _access_modes(seen)
    return not modes or any(each not in (ON_ONE_NODE, IN_ONE_POD) for each in modes)


def _access_modes(seen: Inspection) -> list[str]:
    found: list[str] = ((seen.claim or {}).get("spec") or {}).get("accessModes") or []
    return found


def _node_of_replicas(snapshot: Snapshot) -> str | None:
    nodes = (str(pod["spec"].get("nodeName") or "") for pod in snapshot.pods)
    return next((node for node in nodes if node), None)


def _counted(tries: int) -> str:
    return "1 try" if tries == 1 else f"{tries} tries"
