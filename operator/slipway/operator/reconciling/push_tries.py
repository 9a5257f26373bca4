"""What all Jobs that push an image of a model share: which of them is in use, when the next is tried, the words. Pure.

What the Job makes, and when it may run, is in `pushes.py` for compiled code and in `model_images.py` for the model's
files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from slipway.api.llmdeployment import LLMDeployment
from slipway.objects.kinds import Object
from slipway.objects.metadata import controller_of, created_at, is_being_deleted, name_of
from slipway.objects.times import parse_time
from slipway.observing.cause import Cause
from slipway.observing.compile_image import GONE
from slipway.observing.giving_up import GivenUp
from slipway.observing.image_push import PushJobs, is_at_work
from slipway.observing.jobs import SOON, Failed, Running
from slipway.observing.push_record import Pushed, PushRecord, next_try, with_failure, with_image
from slipway.observing.snapshot import SeenJobs, Snapshot
from slipway.operator.installation import JOBS_VALUE
from slipway.operator.planning.compile_cache import Pulled
from slipway.operator.rendering.wanted import digest_of_wanted

NOT_ALLOWED = "Slipway may not start the Job that pushes it: add {0} to {1} of its chart to allow it."


@dataclass(frozen=True, kw_only=True)
class Order:
    """A Job to create; its pod is made when it is."""

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
class Tries:
    """The Jobs of one model that push one image of it, while it is decided what to do."""

    deployment: LLMDeployment
    snapshot: Snapshot
    record: PushRecord
    identity: str  # of what the image is for; empty: none is to be pushed
    pushed_by: PushJobs
    names: Callable[[LLMDeployment, str, int], str]  # of the Job for an identity and a try
    is_name: Callable[[str, str], bool]  # whether a Job of the model may have the name

    @property
    def number(self) -> int:
        """Of tries that have failed."""
        failure = self.record.failure_for(self.identity)
        return failure.tries if failure else 0

    def jobs(self) -> tuple[Object, ...]:
        """Ours alone: whatever its labels, a Job that another owner controls, or none, is never taken for ours."""
        seen, metadata = self.pushed_by.seen or SeenJobs(), self.deployment.metadata
        ours = (each for each in seen.jobs.values() if (controller_of(each) or {}).get("uid") == metadata.uid)
        return tuple(each for each in ours if self.is_name(name_of(each), metadata.name))

    def name_of_try(self, number: int) -> str:
        return self.names(self.deployment, self.identity, number)

    def current_job(self) -> Object | None:
        name = self.name_of_try(self.number + 1)
        return next((each for each in self.jobs() if name_of(each) == name and not is_being_deleted(each)), None)

    def jobs_but(self, *names: str) -> tuple[Object, ...]:
        return tuple(each for each in self.jobs() if name_of(each) not in names and not is_being_deleted(each))

    def pushing(self, message: str = "", **others: object) -> Pushing:
        return Pushing(record=self.record, identity=self.identity, message=message, **others)  # type: ignore[arg-type]

    def known(self) -> PushRecord:
        """With what the Job has reported that has just ended."""
        job = self.current_job() if self.identity else None
        match self.pushed_by.outcome_of(job, self.snapshot) if job else None:
            case Pushed() as pushed:
                return with_image(pushed, self.identity, self.snapshot.now)
            case Failed(cause):
                return with_failure(self.record, self.identity, cause, self.snapshot.now)
        return self.record

    def given_up(self) -> Pushing:
        """Jobs that go on do so for something that isn't wanted any more. One that has ended stays, until what it has
        reported can be stored."""
        going = [each for each in self.jobs() if isinstance(self.pushed_by.outcome_of(each, self.snapshot), Running)]
        remove = tuple(each for each in going if not is_being_deleted(each))
        return Pushing(record=self.record, remove=remove, is_running=bool(going))

    def with_image(self, stored: PushRecord) -> Pushing:
        """There is one. `stored`: what the status has: before it does, only the Job's pod has the image's name."""
        is_stored = bool(stored.image_for(self.identity))
        return self.pushing(remove=self.jobs_but() if is_stored else ())

    def not_allowed(self) -> Pushing:
        return self.pushing(NOT_ALLOWED.format(self.deployment.metadata.namespace, JOBS_VALUE))

    def running(self, job: Object, does: str) -> Pushing:
        """`does`: what the Job does, as verbs of a sentence about it."""
        outcome = self.pushed_by.outcome_of(job, self.snapshot)
        cause = outcome.cause if isinstance(outcome, Running) else None
        since, now = created_at(job), self.snapshot.now
        late = self.pushed_by.longest if is_at_work(job, self.pushed_by.seen) else SOON
        text = f"Job {name_of(job)} {does}{f' since {since:%H:%M:%S} UTC' if since else ''}"
        return self.pushing(
            f"{text}; {cause.reason}: {cause.message.rstrip('.')}." if cause else f"{text}.",
            is_running=True,
            remove=self.jobs_but(name_of(job)),
            look_again_at=max(now + SOON, (since or now) + late),
        )

    def waiting(self) -> Pushing | None:
        """For the next try; None: it is due."""
        failure, now = self.record.failure_for(self.identity), self.snapshot.now
        if failure is None or (at := next_try(failure, now)) <= now:
            return None
        times = "once" if failure.tries == 1 else f"{failure.tries} times"
        return self.pushing(
            f"The Job that pushes it has failed {times}, and is tried again at {at:%Y-%m-%d %H:%M} UTC: "
            f"{failure.message.rstrip('.')}.",
            remove=self.jobs_but(self.name_of_try(failure.tries)),  # whose log may help
            look_again_at=at,
        )

    def starting(self, does: str) -> Pushing:
        name = self.name_of_try(self.number + 1)
        return self.pushing(
            f"Job {name}, which {does}, is being created.",
            start=Order(name=name, identity=self.identity),
            remove=self.jobs_but(name),
            look_again_at=self.snapshot.now + SOON,
        )


def gone(record: PushRecord, given_up: GivenUp | None) -> GivenUp | None:
    """What was given up because the registry no longer has the image; None: it has, or a Job has pushed it since."""
    if given_up is None or record.pushed is None or given_up.reason != GONE:
        return None
    pushed_at, is_this = parse_time(record.pushed.at), given_up.claim == digest_of_wanted(Pulled(record.image))
    return given_up if is_this and not (pushed_at and pushed_at > given_up.at) else None
