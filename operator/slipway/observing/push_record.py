"""What the status of a cache has of an image that a Job has pushed, and which tries have failed. Pure.

It is the only memory of these Jobs, and outlives them and the operator.
"""

from __future__ import annotations

import math
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import ValidationError

from slipway.api.llmdeployment import LLMDeployment
from slipway.api.schema import LONGEST_LINE
from slipway.api.status import PushedImage, PushFailure
from slipway.objects.kinds import Object
from slipway.objects.times import parse_time
from slipway.observing.cause import Cause

PAUSES = (timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=2), timedelta(days=1))
"""After the first try, the second… A registry that refuses is found before the accelerator is used."""
CLOCKS_DIFFER = timedelta(minutes=5)


@dataclass(frozen=True)
class Pushed:
    image: str  # with its digest
    size: int | None  # bytes


@dataclass(frozen=True)
class PushRecord:
    """What `status.compileCache` or `status.modelCache` has of it."""

    pushed: PushedImage | None = None
    failure: PushFailure | None = None

    @property
    def image(self) -> str:
        """The last one, whatever it was pushed for; empty: none was. Of compiled code, the runtime finds out by its key
        what fits."""
        return self.pushed.image if self.pushed else ""

    def image_for(self, identity: str) -> str:
        """Empty: none was pushed for it."""
        return self.pushed.image if self.pushed and self.pushed.identity == identity else ""

    def failure_for(self, identity: str) -> PushFailure | None:
        return self.failure if self.failure and self.failure.identity == identity else None

    def as_status(self) -> Object:
        fields = {"pushed": self.pushed, "pushFailure": self.failure}
        return {name: each.model_dump(by_alias=True, exclude_defaults=True) for name, each in fields.items() if each}


def record_in(status: Object | None, deployment: LLMDeployment) -> PushRecord:
    """Of compiled code."""
    return record_of((status or {}).get("compileCache"), deployment.spec.engine.compile_cache.repository or "")


def record_of(cache: object, repository: str) -> PushRecord:
    """`cache`: its status. An empty one where nothing was recorded, or where others have written something invalid."""
    found = cache if isinstance(cache, dict) else {}
    pushed, failure = None, None
    with suppress(ValidationError):
        pushed = PushedImage.model_validate(found["pushed"]) if found.get("pushed") else None
    with suppress(ValidationError):
        failure = PushFailure.model_validate(found["pushFailure"]) if found.get("pushFailure") else None
    return PushRecord(pushed if pushed and is_of(pushed.image, repository) else None, failure)


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


def is_of(image: object, repository: str) -> bool:
    """Whether it is an image of the repository that the spec names, with its digest."""
    return isinstance(image, str) and bool(re.fullmatch(rf"{re.escape(repository)}@sha256:[0-9a-f]{{64}}", image))


def _written(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
