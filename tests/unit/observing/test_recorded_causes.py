"""Causes found in recordings of a real cluster, in which tests/cluster/test_causes.py provoked each of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from slipway.observing.causes import main_cause
from slipway.observing.keeping import pod_shown
from support.builders import recorded_snapshots
from support.faults.pod_failures import POD_FAILURES, PodFailure

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.mark.parametrize("provocation", POD_FAILURES, ids=lambda each: each.name)
def test_the_cause_is_found_in_a_recorded_cluster(provocation: PodFailure) -> None:
    cause = main_cause(recorded_snapshots.load(FIXTURES / f"{provocation.name}.json"))
    assert cause
    assert provocation.describes(cause), cause


@pytest.mark.parametrize("provocation", POD_FAILURES, ids=lambda each: each.name)
def test_a_cause_has_its_time_and_its_pod(provocation: PodFailure) -> None:
    snapshot = recorded_snapshots.load(FIXTURES / f"{provocation.name}.json")
    cause = main_cause(snapshot)
    assert cause
    assert cause.since
    assert cause.since <= snapshot.now
    assert cause.pod in {"", *(pod["metadata"]["name"] for pod in snapshot.pods)}


@pytest.mark.parametrize("provocation", POD_FAILURES, ids=lambda each: each.name)
def test_the_stored_part_of_pods_leads_to_the_same_cause(provocation: PodFailure) -> None:
    snapshot = recorded_snapshots.load(FIXTURES / f"{provocation.name}.json")
    assert main_cause(replace(snapshot, pods=tuple(map(pod_shown, snapshot.pods)))) == main_cause(snapshot)


def test_every_recording_belongs_to_a_cause_that_is_still_provoked() -> None:
    assert {path.stem for path in FIXTURES.glob("*.json")} == {each.name for each in POD_FAILURES}
