"""Pure: whether a Job compiles for an image and pushes it, and what the status says about it.

Only for `spec.engine.compileCache.repository`, where the chart allows Jobs in the namespace. The Job needs the
accelerator of a replica, so it runs while the model sleeps, and gives way as soon as a replica is wanted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from slipway.api.llmdeployment import LLMDeployment
from slipway.objects.kinds import Object
from slipway.objects.metadata import controller_of, created_at, is_being_deleted, name_of
from slipway.objects.times import parse_time
from slipway.observing.cause import Cause
from slipway.observing.compile_image import GONE
from slipway.observing.compile_push import LONGEST, is_at_work, outcome_of
from slipway.observing.giving_up import GivenUp
from slipway.observing.jobs import SOON, Failed, Running
from slipway.observing.observation import desired_replicas
from slipway.observing.push_record import Pushed, PushRecord, next_try, record_in, with_failure, with_image
from slipway.observing.snapshot import SeenJobs, Snapshot
from slipway.operator.installation import JOBS_VALUE
from slipway.operator.planning.compile_cache import COMPILING, Pulled
from slipway.operator.rendering.compile_job import identity_of, is_job_name, job_name
from slipway.operator.rendering.placing import is_asleep
from slipway.operator.rendering.wanted import digest_of_wanted

NOT_ALLOWED = "Slipway may not start the Job that pushes it: add {0} to {1} of its chart to allow it."
PUSHED_AGAIN = "A Job pushes it again when the model sleeps after {0}."
WHEN_IT_SLEEPS = "A Job pushes one when the model sleeps the next time."
GAVE_WAY = "The Job that pushes it has given way to a replica. " + WHEN_IT_SLEEPS


@dataclass(frozen=True, kw_only=True)
class Order:
    """A Job to create; its pod is made from KServe's Deployment, which is read then."""

    name: str
    identity: str


@dataclass(frozen=True, kw_only=True)
class Pushing:
    """What is known of the image that Jobs push, and what is to be done about it."""

    record: PushRecord = field(default_factory=PushRecord)
    identity: str = ""  # of the image that is needed now
    start: Order | None = None
    is_running: bool = False
    remove: tuple[Object, ...] = ()  # Jobs of ours that nothing needs any more
    message: str = ""  # about the image that there isn't yet
    look_again_at: datetime | None = None

    def failed(self, cause: Cause, now: datetime) -> Pushing:
        """The same, after the Job could not be created."""
        return Pushing(record=with_failure(self.record, self.identity, cause, now), identity=self.identity)


@dataclass(frozen=True, kw_only=True)
class _Model:
    """One model, while it is decided what to do."""

    deployment: LLMDeployment
    snapshot: Snapshot
    record: PushRecord
    identity: str

    @property
    def tries(self) -> int:
        failure = self.record.failure_for(self.identity)
        return failure.tries if failure else 0

    @property
    def repository(self) -> str:
        return self.deployment.spec.engine.compile_cache.repository or ""

    def jobs(self) -> tuple[Object, ...]:
        """Ours alone: whatever its labels, a Job that another owner controls, or none, is never taken for ours."""
        seen, metadata = self.snapshot.compilation or SeenJobs(), self.deployment.metadata
        ours = (each for each in seen.jobs.values() if (controller_of(each) or {}).get("uid") == metadata.uid)
        return tuple(each for each in ours if is_job_name(name_of(each), metadata.name))

    def name_of_try(self, number: int) -> str:
        return job_name(self.deployment, self.identity, number)

    def current_job(self) -> Object | None:
        name = self.name_of_try(self.tries + 1)
        return next((each for each in self.jobs() if name_of(each) == name and not is_being_deleted(each)), None)

    def jobs_but(self, *names: str) -> tuple[Object, ...]:
        return tuple(each for each in self.jobs() if name_of(each) not in names and not is_being_deleted(each))

    def pushing(self, message: str = "", **others: object) -> Pushing:
        return Pushing(record=self.record, identity=self.identity, message=message, **others)  # type: ignore[arg-type]


def known_push(deployment: LLMDeployment, snapshot: Snapshot) -> PushRecord:
    """What was pushed before, and what the Job has reported that has just ended."""
    record = record_in(snapshot.status, deployment)
    identity = _identity(deployment, ((snapshot.status or {}).get("made") or {}).get("pods"))
    if not identity:
        return record
    model = _Model(deployment=deployment, snapshot=snapshot, record=record, identity=identity)
    job = model.current_job()
    match outcome_of(job, model.repository, snapshot) if job else None:
        case Pushed() as pushed:
            return with_image(pushed, identity, snapshot.now)
        case Failed(cause):
            return with_failure(record, identity, cause, snapshot.now)
    return record


def decide_push(deployment: LLMDeployment, snapshot: Snapshot, record: PushRecord, pods: str) -> Pushing:
    """`record`: what `known_push` has returned; `pods`: the digest of what the pods are made of now."""
    identity = _identity(deployment, pods)
    model = _Model(deployment=deployment, snapshot=snapshot, record=record, identity=identity)
    if not identity or snapshot.no_image_volumes:
        return model.pushing(remove=model.jobs_but())
    gone = _gone(record, snapshot)
    if record.image_for(identity) and not gone:
        stored = record_in(snapshot.status, deployment)
        is_stored = stored.image_for(identity) and not _gone(stored, snapshot)
        return model.pushing(remove=model.jobs_but() if is_stored else ())  # before, only the Job's pod has it
    if snapshot.compilation is None:
        return model.pushing(NOT_ALLOWED.format(deployment.metadata.namespace, JOBS_VALUE))
    if job := model.current_job():
        return _running(model, job)
    if gone and gone.again_at > snapshot.now:  # or a mirror that lacks it would cost a compilation at each sleep
        again = f"{gone.again_at:%Y-%m-%d %H:%M} UTC"
        return model.pushing(PUSHED_AGAIN.format(again), remove=model.jobs_but(), look_again_at=gone.again_at)
    return _waiting(model) or _starting(model)


def _gone(record: PushRecord, snapshot: Snapshot) -> GivenUp | None:
    """What was given up because the registry no longer has the image; None: it has, or a Job has pushed it since."""
    given_up = GivenUp.of(snapshot)
    if given_up is None or record.pushed is None or given_up.reason != GONE:
        return None
    pushed_at, is_this = parse_time(record.pushed.at), given_up.claim == digest_of_wanted(Pulled(record.image))
    return given_up if is_this and not (pushed_at and pushed_at > given_up.at) else None


def without_plan(deployment: LLMDeployment, snapshot: Snapshot, record: PushRecord) -> Pushing:
    """A Job that goes on would hold an accelerator of a plan that there isn't any more. One that has ended stays, until
    what it has reported can be stored."""
    model = _Model(deployment=deployment, snapshot=snapshot, record=record, identity="")
    going = [each for each in model.jobs() if isinstance(outcome_of(each, model.repository, snapshot), Running)]
    remove = tuple(each for each in going if not is_being_deleted(each))
    return Pushing(record=record, remove=remove, is_running=bool(going))


def _identity(deployment: LLMDeployment, pods: object) -> str:
    """Empty: no image is to be pushed."""
    spec = deployment.spec
    is_wanted = spec.engine.name in COMPILING and spec.engine.compile_cache.repository
    return identity_of(deployment, pods) if is_wanted and pods and isinstance(pods, str) else ""


def _running(model: _Model, job: Object) -> Pushing:
    if desired_replicas(model.deployment, model.snapshot):
        return model.pushing(GAVE_WAY, remove=model.jobs_but())
    outcome = outcome_of(job, model.repository, model.snapshot)
    cause = outcome.cause if isinstance(outcome, Running) else None
    since, now = created_at(job), model.snapshot.now
    late = SOON if not is_at_work(job, model.snapshot) else LONGEST
    text = f"Job {name_of(job)} compiles and pushes it{f' since {since:%H:%M:%S} UTC' if since else ''}"
    return model.pushing(
        f"{text}; {cause.reason}: {cause.message.rstrip('.')}." if cause else f"{text}.",
        is_running=True,
        remove=model.jobs_but(name_of(job)),
        look_again_at=max(now + SOON, (since or now) + late),
    )


def _waiting(model: _Model) -> Pushing | None:
    """For the next try; None: it is due."""
    failure, now = model.record.failure_for(model.identity), model.snapshot.now
    if failure is None or (at := next_try(failure, now)) <= now:
        return None
    times = "once" if failure.tries == 1 else f"{failure.tries} times"
    return model.pushing(
        f"The Job that pushes it has failed {times}, and is tried again at {at:%Y-%m-%d %H:%M} UTC: "
        f"{failure.message.rstrip('.')}.",
        remove=model.jobs_but(model.name_of_try(failure.tries)),  # whose log may help
        look_again_at=at,
    )


def _starting(model: _Model) -> Pushing:
    name = model.name_of_try(model.tries + 1)
    if not is_asleep(model.snapshot):
        return model.pushing(WHEN_IT_SLEEPS, remove=model.jobs_but())
    return model.pushing(
        f"Job {name}, which compiles and pushes it, is being created.",
        start=Order(name=name, identity=model.identity),
        remove=model.jobs_but(name),
        look_again_at=model.snapshot.now + SOON,
    )
