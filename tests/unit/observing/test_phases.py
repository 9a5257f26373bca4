"""Which phase a start has reached, and how long its phases took."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.api.reasons import Reason
from slipway.objects.kinds import Object
from slipway.observing.phases import phases_of, step_of
from slipway.observing.pods import Pod
from support.builders.observed import container, event, pod, snapshot, unscheduled

WAITING: dict[str, Any] = {"state": {"waiting": {"reason": "ContainerCreating"}}}
RUNNING: dict[str, Any] = {"state": {"running": {"startedAt": "2026-11-21T10:00:33Z"}}}


def with_download(**state: Any) -> Object:
    """A pod whose storage initializer is in this state."""
    downloading = pod(containerStatuses=[container(**WAITING)])
    downloading["spec"]["initContainers"] = [{"name": "storage-initializer"}]
    downloading["status"]["initContainerStatuses"] = [{"name": "storage-initializer", "ready": False, **state}]
    return downloading


@pytest.mark.parametrize(
    ("raw", "step"),
    [
        (unscheduled("0/1 nodes are available"), Reason.SCHEDULING),
        (pod(containerStatuses=[container(**WAITING)]), Reason.STARTING),
        (with_download(**RUNNING), Reason.FETCHING_MODEL),
        (with_download(**WAITING), Reason.STARTING),
        (pod(), Reason.LOADING_MODEL),
    ],
)
def test_the_step_of_a_start_is_read_off_its_pod(raw: Object, step: Reason) -> None:
    assert step_of(Pod(raw, snapshot(raw))) == step


def test_an_image_is_being_pulled_until_the_kubelet_reports_that_it_was_pulled() -> None:
    raw = pod(containerStatuses=[container(**WAITING)])
    pulling = event(raw, "Pulling", "Pulling image", at="2026-11-21T10:00:02Z", kind="Normal")
    pulled = event(raw, "Pulled", "Successfully pulled image", at="2026-11-21T10:00:30Z", kind="Normal")
    assert step_of(Pod(raw, snapshot(raw, events=(pulling,)))) == Reason.PULLING_IMAGE
    assert step_of(Pod(raw, snapshot(raw, events=(pulling, pulled)))) == Reason.STARTING


def test_a_phase_without_a_recorded_time_is_part_of_the_next() -> None:
    raw = pod(ready=True)
    assert phases_of(Pod(raw, snapshot(raw))).durations() == {"schedule": "1s", "start": "32s", "ready": "12s"}


def test_a_phase_that_is_not_reached_is_not_reported() -> None:
    raw = pod()
    assert "ready" not in phases_of(Pod(raw, snapshot(raw))).durations()
