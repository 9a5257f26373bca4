"""Pure: whether a Job makes an image of a model's files and pushes it, and what the status says about it.

Only for `spec.model.cache` of kind Image, where the chart allows Jobs in the namespace. The Job needs no accelerator,
so it starts with the object; until there is an image, pods fetch the files themselves.
"""

from __future__ import annotations

from slipway.api.llmdeployment import LLMDeployment
from slipway.objects.kinds import Object
from slipway.observing.giving_up import WEIGHTS, GivenUp
from slipway.observing.image_push import LONGEST_OF_WEIGHTS, PushJobs
from slipway.observing.push_record import PushRecord
from slipway.observing.snapshot import Snapshot
from slipway.operator.reconciling.push_tries import Pushing, Tries, gone
from slipway.operator.rendering.image_job import CONTAINER, identity_of, is_job_name, job_name
from slipway.operator.rendering.model_cache import recorded_image

DOES = "fetches the model's files and pushes it"


def known_image(deployment: LLMDeployment, snapshot: Snapshot) -> PushRecord:
    """What was pushed before, and what the Job has reported that has just ended."""
    live = snapshot.inference_service or {}
    return _tries(deployment, snapshot, recorded_image(deployment, snapshot.status), live).known()


def decide_image(
    deployment: LLMDeployment, snapshot: Snapshot, record: PushRecord, inference_service: Object
) -> Pushing:
    """`record`: what `known_image` has returned; `inference_service`: as it is to be."""
    tries = _tries(deployment, snapshot, record, inference_service)
    if not tries.identity or snapshot.no_image_volumes:
        return tries.pushing(remove=tries.jobs_but())
    given_up = GivenUp.of(snapshot, WEIGHTS)
    if record.image_for(tries.identity) and not gone(record, given_up):
        stored = recorded_image(deployment, snapshot.status)
        return tries.with_image(PushRecord() if gone(stored, given_up) else stored)
    if snapshot.imaging is None:
        return tries.not_allowed()
    if job := tries.current_job():
        return tries.running(job, DOES)
    return tries.waiting() or tries.starting(DOES)


def without_pods(deployment: LLMDeployment, snapshot: Snapshot, record: PushRecord) -> Pushing:
    """Where nothing says which files the pods need."""
    return _tries(deployment, snapshot, record, {}).given_up()


def _tries(deployment: LLMDeployment, snapshot: Snapshot, record: PushRecord, inference_service: Object) -> Tries:
    cache = deployment.spec.model.cache
    repository = cache.repository or ""
    return Tries(
        deployment=deployment,
        snapshot=snapshot,
        record=record,
        identity=identity_of(deployment, inference_service) if cache.kind == "Image" else "",
        pushed_by=PushJobs(snapshot.imaging, repository, CONTAINER, LONGEST_OF_WEIGHTS),
        names=job_name,
        is_name=is_job_name,
    )
