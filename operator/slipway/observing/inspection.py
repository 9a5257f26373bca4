"""The state of a Job that reads a model's files: it reads them, it has reported, or it has failed. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from slipway.api.reasons import Reason
from slipway.objects.kinds import Object
from slipway.observing.inspection_report import decoded
from slipway.observing.jobs import SOON, Failed, Running, age_of, failed, reports_of, without_report
from slipway.observing.snapshot import Inspection, Snapshot

CONTAINER = "inspect"
LONGEST = timedelta(minutes=10)  # with the pull of the image; reading takes seconds


@dataclass(frozen=True)
class Reported:
    facts: str  # as JSON


Outcome = Running | Reported | Failed


def outcome_of(job: Object, snapshot: Snapshot) -> Outcome:
    """`snapshot`: with the pods and events of its inspection."""
    seen = snapshot.inspection or Inspection()
    for message in reports_of(job, seen, CONTAINER):
        facts = decoded(message)
        return Reported(facts) if facts else failed(Reason.UNKNOWN, "the report of the pod can't be read")
    return without_report(job, seen, snapshot, LONGEST)


def is_late(job: Object, snapshot: Snapshot) -> bool:
    """Whether it takes so long that its events are worth a request."""
    return age_of(job, snapshot.now) > SOON and isinstance(outcome_of(job, snapshot), Running)
