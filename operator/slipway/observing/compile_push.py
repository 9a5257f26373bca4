"""Images of compiled code that Jobs push: what a Job has reported, and what the status remembers of it. Pure.

What a pod reports is the tenant's: only a name in the repository of the spec, with a digest, is believed.
"""

from __future__ import annotations

import json
import math
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import ValidationError

from slipway.api.llmdeployment import LLMDeployment
from slipway.api.reasons import Reason
from slipway.api.status import LONGEST_LINE, PushedImage, PushFailure
from slipway.contract.pod import PUSHED_BYTES, PUSHED_NAME, PUSHED_START
from slipway.objects.kinds import Object
from slipway.objects.times import parse_time
from slipway.observing.cause import Cause
from slipway.observing.jobs import SOON, Failed, Running, age_of, failed, reports_of, without_report
from slipway.observing.snapshot import SeenJobs, Snapshot

CONTAINER = "kserve-container"
PAUSES = (timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=2), timedelta(days=1))
"""After the first try, the second…; each but the first needs an accelerator only if the registry accepts it."""
CLOCKS_DIFFER = timedelta(minutes=5)
MOST_BYTES = 1 << 50
UNREADABLE = "the Job has ended well, but has not reported an image of the repository {0}"


@dataclass(frozen=True)
class Pushed:
    image: str  # with its digest
    size: int | None  # bytes


Outcome = Running | Pushed | Failed


@dataclass(frozen=True)
class PushRecord:
    """What `status.compileCache` has of it."""

    pushed: PushedImage | None = None
    failure: PushFailure | None = None

    def image_for(self, identity: str) -> str:
        """Empty: none was pushed for it."""
        return self.pushed.image if self.pushed and self.pushed.identity == identity else ""

    def failure_for(self, identity: str) -> PushFailure | None:
        return self.failure if self.failure and self.failure.identity == identity else None

    def as_status(self) -> Object:
        fields = {"pushed": self.pushed, "pushFailure": self.failure}
        return {name: each.model_dump(by_alias=True, exclude_defaults=True) for name, each in fields.items() if each}


def outcome_of(job: Object, repository: str, snapshot: Snapshot, longest: timedelta) -> Outcome:
    seen = snapshot.compilation or SeenJobs()
    for message in reports_of(job, seen, CONTAINER):
        return _pushed(message, repository) or failed(Reason.UNKNOWN, UNREADABLE.format(repository))
    return without_report(job, seen, snapshot, longest)


def is_late(job: Object, snapshot: Snapshot) -> bool:
    """Whether it takes so long that its events are worth a request."""
    seen = snapshot.compilation or SeenJobs()
    return age_of(job, snapshot.now) > SOON and not any(reports_of(job, seen, CONTAINER))


def record_in(status: Object | None, deployment: LLMDeployment) -> PushRecord:
    """An empty one where nothing was recorded, or where others have written something invalid."""
    found = (status or {}).get("compileCache") or {}
    pushed, failure = None, None
    with suppress(ValidationError):
        pushed = PushedImage.model_validate(found["pushed"]) if found.get("pushed") else None
    with suppress(ValidationError):
        failure = PushFailure.model_validate(found["pushFailure"]) if found.get("pushFailure") else None
    repository = deployment.spec.engine.compile_cache.repository or ""
    return PushRecord(pushed if pushed and _is_of(pushed.image, repository) else None, failure)


def with_image(pushed: Pushed, identity: str, now: datetime) -> PushRecord:
    size = f"{math.ceil(pushed.size / (1 << 20))}Mi" if pushed.size else None
    return PushRecord(PushedImage(image=pushed.image, identity=identity, size=size, at=_written(now)))


def with_failure(record: PushRecord, identity: str, cause: Cause, now: datetime) -> PushRecord:
    before = record.failure_for(identity)
    failure = PushFailure(
        identity=identity,
        reason=str(cause.reason),
        message=cause.message[:LONGEST_LINE],
        tries=(before.tries if before else 0) + 1,
        at=_written(now),
    )
    return PushRecord(record.pushed, failure)


def next_try(failure: PushFailure, now: datetime) -> datetime:
    """A time in the future was written by a clock, or a person, that is wrong."""
    at = parse_time(failure.at)
    if at is None or at > now + CLOCKS_DIFFER:
        return now
    return at + PAUSES[min(max(failure.tries, 1), len(PAUSES)) - 1]


def _pushed(message: str, repository: str) -> Pushed | None:
    if not message.startswith(PUSHED_START):
        return None
    try:
        said = json.loads(message.removeprefix(PUSHED_START))
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or not _is_of(said.get(PUSHED_NAME), repository):
        return None
    size = said.get(PUSHED_BYTES)
    return Pushed(str(said[PUSHED_NAME]), size if type(size) is int and 0 < size <= MOST_BYTES else None)


def _is_of(image: object, repository: str) -> bool:
    """Whether it is an image of the repository that the spec names, with its digest."""
    return isinstance(image, str) and bool(re.fullmatch(rf"{re.escape(repository)}@sha256:[0-9a-f]{{64}}", image))


def _written(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
