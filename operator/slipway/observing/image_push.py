"""The state of a Job that pushes an image: it works, it has pushed, or it has failed. Pure.

What a pod reports is the tenant's: only a name in the repository of the spec, with a digest, is believed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from slipway.api.reasons import Reason
from slipway.contract.pod import PUSHED_BYTES, PUSHED_NAME, PUSHED_START
from slipway.objects.kinds import Object
from slipway.observing.jobs import SOON, Failed, Running, age_of, failed, newest_pod, reports_of, without_report
from slipway.observing.push_record import Pushed, is_of
from slipway.observing.snapshot import SeenJobs, Snapshot

CONTAINER = "kserve-container"
LONGEST = timedelta(hours=2)  # with the pulls of the engine's image and of the model
LONGEST_OF_WEIGHTS = timedelta(hours=12)  # of a large model from a slow source
MOST_BYTES = 1 << 50
UNREADABLE = "the Job has ended well, but has not reported an image of the repository {0}"


Outcome = Running | Pushed | Failed


@dataclass(frozen=True)
class PushJobs:
    """What is known of the Jobs that push one image of a model. `seen`: None where none may run."""

    seen: SeenJobs | None
    repository: str
    container: str = CONTAINER  # which reports
    longest: timedelta = LONGEST

    def outcome_of(self, job: Object, snapshot: Snapshot) -> Outcome:
        seen = self.seen or SeenJobs()
        for message in reports_of(job, seen, self.container):
            return _pushed(message, self.repository) or failed(Reason.UNKNOWN, UNREADABLE.format(self.repository))
        return without_report(job, seen, snapshot, self.longest)


def is_at_work(job: Object, seen: SeenJobs | None) -> bool:
    """Whether its pod has started, which then takes minutes: a change of it says when it ends."""
    pods = newest_pod(job, seen) if seen else []
    return any((pod.get("status") or {}).get("phase") not in (None, "Pending") for pod in pods)


def is_late(job: Object, seen: SeenJobs | None, now: datetime) -> bool:
    """Whether it takes so long to start that its events are worth a request."""
    return age_of(job, now) > SOON and not is_at_work(job, seen)


def _pushed(message: str, repository: str) -> Pushed | None:
    if not message.startswith(PUSHED_START):
        return None
    try:
        said = json.loads(message.removeprefix(PUSHED_START))
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or not is_of(said.get(PUSHED_NAME), repository):
        return None
    size = said.get(PUSHED_BYTES)
    return Pushed(str(said[PUSHED_NAME]), size if type(size) is int and 0 < size <= MOST_BYTES else None)
