"""`status.model`: what was read of the model's files, and which tries have failed. Pure.

It is the only memory of inspections, and outlives the Jobs and the operator: the files of a source are read once. A
new value of the annotation slipway.dev/sync requests that they are read again; meanwhile the old facts hold. It also
keeps what the Hub has answered, so that no plan depends on whether it answers again.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from slipway.api.llmdeployment import LLMDeployment
from slipway.api.schema import LONGEST_LINE
from slipway.api.status import InspectionFailure, ModelStatus
from slipway.objects.kinds import Object
from slipway.objects.times import parse_time
from slipway.observing.cause import Cause
from slipway.observing.inspection_report import facts_in

LENGTH_OF_DIGEST = 16
PAUSES = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=2))
"""After the first try, the second… A volume that isn't filled yet, or a node that comes, is worth some of them."""
MOST_TRIES = len(PAUSES) + 1
CLOCKS_DIFFER = timedelta(minutes=5)


@dataclass(frozen=True)
class Source:
    """What is to be read."""

    uri: str  # with the revision, for people
    digest: str  # of what identifies the files
    sync: str  # the value of the annotation; a new one requests that the files are read again


def source_of(deployment: LLMDeployment) -> Source:
    model = deployment.spec.model
    identity = json.dumps([model.uri, model.revision, model.credentials_secret])
    digest = hashlib.sha256(identity.encode()).hexdigest()[:LENGTH_OF_DIGEST]
    return Source(f"{model.uri}@{model.revision}" if model.revision else model.uri, digest, deployment.sync)


# --- what is recorded ------------------------------------------------------------------------------------------------


def record_in(status: Object | None) -> ModelStatus:
    """An empty one where nothing was recorded, or where others have written something invalid."""
    with suppress(ValidationError):
        return ModelStatus.model_validate((status or {}).get("model") or {})
    return ModelStatus()


def facts_for(record: ModelStatus, source: Source) -> dict[str, Any] | None:
    """What was read of this source; None: nothing was."""
    return facts_in(record.facts) if record.digest == source.digest else None


def is_read(record: ModelStatus, source: Source) -> bool:
    """Whether these are facts of the files themselves."""
    return not _asks_again(source, record.sync) and of_files(record) and facts_for(record, source) is not None


def of_files(record: ModelStatus) -> bool:
    return record.evidence != "reported"


def failure_for(record: ModelStatus, source: Source) -> InspectionFailure | None:
    """The last failure to read this source; None: it wasn't tried, or should be tried as if for the first time."""
    failure = record.failure
    is_of_it = failure and failure.digest == source.digest and not _asks_again(source, failure.sync)
    return failure if is_of_it else None


def next_try(failure: InspectionFailure, now: datetime) -> datetime | None:
    """None: there were enough. A time in the future was written by a clock, or a person, that is wrong."""
    if failure.tries >= MOST_TRIES:
        return None
    at = parse_time(failure.at)
    if at is None or at > now + CLOCKS_DIFFER:
        return now
    return at + PAUSES[max(failure.tries, 1) - 1]


def _asks_again(source: Source, before: str) -> bool:
    """Removing the annotation requests nothing."""
    return source.sync not in ("", before)


# --- what is written -------------------------------------------------------------------------------------------------


def with_report(source: Source, facts: str, now: datetime) -> ModelStatus:
    return ModelStatus(
        source=source.uri,
        digest=source.digest,
        sync=source.sync,
        facts=facts,
        evidence="exact",
        read_at=_written(now),
    )


def with_answer(record: ModelStatus, source: Source, facts: str, now: datetime) -> ModelStatus:
    """`facts`: what the Hub says, which wasn't read from the files."""
    return ModelStatus(
        source=source.uri,
        digest=source.digest,
        sync=source.sync,
        facts=facts,
        evidence="reported",
        read_at=_written(now),
        failure=record.failure,
    )


def with_failure(record: ModelStatus, source: Source, cause: Cause, now: datetime) -> ModelStatus:
    """Facts of another source don't hold any more."""
    before = failure_for(record, source)
    failure = InspectionFailure(
        digest=source.digest,
        sync=source.sync,
        reason=str(cause.reason),
        message=cause.message[:LONGEST_LINE],
        tries=(before.tries if before else 0) + 1,
        at=_written(now),
    )
    if record.digest == source.digest:
        return record.model_copy(update={"failure": failure})
    return ModelStatus(failure=failure)


def as_status(record: ModelStatus) -> Object | None:
    """None: nothing is recorded."""
    written = record.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True)
    return written or None


def _written(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
