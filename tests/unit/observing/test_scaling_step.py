"""What the status and an event say of a change of the number of replicas that follows times."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from slipway.api import units
from slipway.api.model_key import ModelKey
from slipway.api.scaling import ScaledStatus
from slipway.observing.events import Notice, events_between
from slipway.observing.scaling_step import (
    Followed,
    Step,
    as_status,
    followed_in,
    page_of,
    step_between,
    with_scaled,
)

KEY, NOW = ModelKey("chat", "llama"), datetime(2026, 11, 21, 10, tzinfo=UTC)
SLOW = Followed("ttftP95", 0.93, 0.5)
STATUS = as_status(Step(1, 2, NOW), SLOW)


def desired(replicas: int | None, *, ready: int = 1, generation: int = 1) -> Any:
    """A status."""
    counts = {"desired": replicas, "ready": ready}
    answers = {"state": "Serving", "message": "1 replica answers."}
    return {**answers, "observedGeneration": generation, "replicas": counts}


def test_the_operator_reads_what_the_activator_writes() -> None:
    assert followed_in(page_of([(KEY, SLOW), (ModelKey("chat", "other"), SLOW)]), KEY) == SLOW
    assert followed_in(page_of([]), KEY) is None


@pytest.mark.parametrize(
    "page",
    [b"", b"no JSON", b"[]", b"7", b'{"chat/llama": null}', b'{"chat/llama": ["ttftP95", 1]}', b"[" * 100_000]
    + [json.dumps({"chat/llama": ["ttftP95", *each]}).encode() for each in ((-1, 1), (1e9, 1), ("x", 1), (1, None))]
    + [
        b'{"chat/llama": ["ttftP95", NaN, 1]}',
        b'{"chat/llama": ["ttftP95", 1%s, 1]}' % (b"0" * 400),
        b'{"chat/llama": ["ttftP95", 1, Infinity]}',
    ],
)
def test_anything_else_is_no_measurement(page: bytes) -> None:
    assert followed_in(page, KEY) is None


@pytest.mark.parametrize(
    ("before", "after", "step"),
    [
        (1, 2, Step(1, 2, NOW)),
        (4, 3, Step(4, 3, NOW)),
        (2, 2, None),
        (0, 1, None),
        (1, 0, None),
        (None, 2, None),
    ],
)
def test_to_wake_and_to_sleep_are_no_steps(before: int | None, after: int, step: Step | None) -> None:
    assert step_between(desired(before), desired(after), NOW) == step
    assert step_between(None, desired(after), NOW) is None


def test_a_model_that_is_created_with_several_replicas_was_not_scaled() -> None:
    """`desired` is minReplicas first, and then the number of the Deployment that KServe makes with one."""
    assert step_between(desired(2, ready=0), desired(1, ready=0), NOW) is None
    assert step_between(desired(1, ready=0), desired(2, ready=1), NOW) is None


def test_another_number_by_another_spec_is_no_step() -> None:
    assert step_between(desired(1), desired(3, generation=2), NOW) is None


def test_the_status_has_what_was_measured_and_its_target() -> None:
    assert ScaledStatus.model_validate(STATUS).model_dump(by_alias=True) == {
        "at": "2026-11-21T10:00:00Z",
        "before": 1,
        "after": 2,
        "time": "ttftP95",
        "measured": "930ms",
        "target": "500ms",
    }


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0.0, "0ms"),
        (0.0004, "0.4ms"),
        (0.0567, "56.7ms"),
        (0.9996, "1000ms"),
        (1.0, "1s"),
        (61.25, "61.2s"),
        (4321.0, "4320s"),
        (1e5, "100000s"),
    ],
)
def test_durations_are_those_of_the_spec(seconds: float, written: str) -> None:
    assert as_status(Step(1, 2, NOW), Followed("ttftP95", seconds, 0.5))["measured"] == written
    assert units.seconds(written) == pytest.approx(seconds, rel=0.01)


def test_it_stays_in_the_status_until_the_next_step() -> None:
    later = as_status(Step(2, 3, NOW), Followed("tpotP95", 1.234, 1))
    assert with_scaled(desired(2), None, None) == desired(2)
    assert with_scaled(desired(2), {"lastScaled": STATUS}, None)["lastScaled"] == STATUS
    assert with_scaled(desired(3), {"lastScaled": STATUS}, later)["lastScaled"] == later
    assert later["measured"] == "1.23s"


def test_a_step_without_a_measurement_says_so() -> None:
    alone = as_status(Step(2, 1, NOW), None)
    assert ScaledStatus.model_validate(alone).model_dump(exclude_defaults=True) == alone
    said = "From 2 to 1 replicas; no time was measured then, as when there are few requests."
    after = {**desired(1), "lastScaled": alone}
    assert events_between({**desired(2), "lastScaled": STATUS}, after) == [Notice("Normal", "Scaled", said)]


def test_each_step_is_one_event() -> None:
    before, after = desired(2), {**desired(2), "lastScaled": STATUS}
    said = "From 1 to 2 replicas. ttftP95 was 930ms then, and its target is 500ms."
    assert events_between(before, after) == [Notice("Normal", "Scaled", said)]
    assert events_between(after, after) == []
