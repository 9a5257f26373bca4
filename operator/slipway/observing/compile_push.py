"""The state of a Job that pushes an image of compiled code: it works, it has pushed, or it has failed. Pure.

What a pod reports is the tenant's: only a name in the repository of the spec, with a digest, is believed.
"""

from __future__ import annotations

import json
from datetime import timedelta

from slipway.api.reasons import Reason
from slipway.contract.pod import PUSHED_BYTES, PUSHED_NAME, PUSHED_START
from slipway.objects.kinds import Object
from slipway.observing.jobs import SOON, Failed, Running, age_of, failed, newest_pod, reports_of, without_report
from slipway.observing.push_record import Pushed, is_of
from slipway.observing.snapshot import SeenJobs, Snapshot

CONTAINER = "kserve-container"
LONGEST = timedelta(hours=2)  # with the pulls of the engine's image and of the model
MOST_BYTES = 1 << 50
UNREADABLE = "the Job has ended well, but has not reported an image of the repository {0}"


Outcome = Running | Pushed | Failed


def outcome_of(job: Object, repository: str, snapshot: Snapshot) -> Outcome:
    seen = snapshot.compilation or SeenJobs()
    for message in reports_of(job, seen, CONTAINER):
        return _pushed(message, repository) or failed(Reason.UNKNOWN, UNREADABLE.format(repository))
    return without_report(job, seen, snapshot, LONGEST)


def is_at_work(job: Object, snapshot: Snapshot) -> bool:
    """Whether its pod has started, which then takes minutes: a change of it says when it ends."""
    seen = snapshot.compilation or SeenJobs()
    return any((pod.get("status") or {}).get("phase") not in (None, "Pending") for pod in newest_pod(job, seen))


def is_late(job: Object, snapshot: Snapshot) -> bool:
    """Whether it takes so long to start that its events are worth a request."""
    return age_of(job, snapshot.now) > SOON and not is_at_work(job, snapshot)


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
