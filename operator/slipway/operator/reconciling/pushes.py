"""Pure: whether a Job compiles for an image and pushes it, and what the status says about it.

Only for `spec.engine.compileCache.repository`, where the chart allows Jobs in the namespace. The Job needs the
accelerator of a replica, so it runs while the model sleeps, and gives way as soon as a replica is wanted.
"""

from __future__ import annotations

from slipway.api.llmdeployment import LLMDeployment
from slipway.observing.giving_up import GivenUp
from slipway.observing.image_push import PushJobs
from slipway.observing.observation import desired_replicas
from slipway.observing.push_record import PushRecord, record_in
from slipway.observing.snapshot import Snapshot
from slipway.operator.planning.compile_cache import COMPILING
from slipway.operator.reconciling.push_tries import Pushing, Tries, gone
from slipway.operator.rendering.compile_job import identity_of, is_job_name, job_name
from slipway.operator.rendering.placing import is_asleep

DOES = "compiles and pushes it"
PUSHED_AGAIN = "A Job pushes it again when the model sleeps after {0}."
WHEN_IT_SLEEPS = "A Job pushes one when the model sleeps the next time."
GAVE_WAY = "The Job that pushes it has given way to a replica. " + WHEN_IT_SLEEPS


def known_push(deployment: LLMDeployment, snapshot: Snapshot) -> PushRecord:
    """What was pushed before, and what the Job has reported that has just ended."""
    identity = _identity(deployment, ((snapshot.status or {}).get("made") or {}).get("pods"))
    return _tries(deployment, snapshot, record_in(snapshot.status, deployment), identity).known()


def decide_push(deployment: LLMDeployment, snapshot: Snapshot, record: PushRecord, pods: str) -> Pushing:
    """`record`: what `known_push` has returned; `pods`: the digest of what the pods are made of now."""
    identity = _identity(deployment, pods)
    tries = _tries(deployment, snapshot, record, identity)
    if not identity or snapshot.no_image_volumes:
        return tries.pushing(remove=tries.jobs_but())
    is_gone = gone(record, GivenUp.of(snapshot))
    if record.image_for(identity) and not is_gone:
        stored = record_in(snapshot.status, deployment)
        return tries.with_image(PushRecord() if gone(stored, GivenUp.of(snapshot)) else stored)
    if snapshot.compilation is None:
        return tries.not_allowed()
    return _running(tries) or _later(tries, is_gone) or tries.starting(DOES)


def _running(tries: Tries) -> Pushing | None:
    job = tries.current_job()
    if job and desired_replicas(tries.deployment, tries.snapshot):
        return tries.pushing(GAVE_WAY, remove=tries.jobs_but())
    return tries.running(job, DOES) if job else None


def _later(tries: Tries, is_gone: GivenUp | None) -> Pushing | None:
    if is_gone and is_gone.again_at > tries.snapshot.now:
        # A mirror that lacks it would cost a compilation at each sleep.
        again = f"{is_gone.again_at:%Y-%m-%d %H:%M} UTC"
        return tries.pushing(PUSHED_AGAIN.format(again), remove=tries.jobs_but(), look_again_at=is_gone.again_at)
    if later := tries.waiting():
        return later
    return None if is_asleep(tries.snapshot) else tries.pushing(WHEN_IT_SLEEPS, remove=tries.jobs_but())


def without_plan(deployment: LLMDeployment, snapshot: Snapshot, record: PushRecord) -> Pushing:
    """A Job that goes on would hold an accelerator of a plan that there isn't any more."""
    return _tries(deployment, snapshot, record, "").given_up()


def _tries(deployment: LLMDeployment, snapshot: Snapshot, record: PushRecord, identity: str) -> Tries:
    repository = deployment.spec.engine.compile_cache.repository or ""
    return Tries(
        deployment=deployment,
        snapshot=snapshot,
        record=record,
        identity=identity,
        pushed_by=PushJobs(snapshot.compilation, repository),
        names=job_name,
        is_name=is_job_name,
    )


def _identity(deployment: LLMDeployment, pods: object) -> str:
    """Empty: no image is to be pushed."""
    spec = deployment.spec
    is_wanted = spec.engine.name in COMPILING and spec.engine.compile_cache.repository
    return identity_of(deployment, pods) if is_wanted and pods and isinstance(pods, str) else ""
