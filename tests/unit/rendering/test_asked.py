"""What the object says of annotations by which somebody asks a model to wake or to sleep, where they have no effect."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from slipway.api.names import PAUSED_ANNOTATION, SLEEP_ANNOTATION, WAKE_ANNOTATION
from support.rendered_worlds import desired, on_h100

NOW = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)
IDLE_AFTER = 600
WAKE, SLEEP = {"wake": 5.0}, {"sleep": 5.0}
KEDA, HPA = {"minReplicas": 0}, {"minReplicas": 1, "autoscaler": "HPA"}
NONE = {"minReplicas": 1, "autoscaler": "None"}
OFFICE = {"cron": "0 8 * * *", "duration": "10h", "minReplicas": 2}
PAUSES = f"{PAUSED_ANNOTATION} keeps the number of replicas as it is: remove that first."


def at(ago: float) -> str:
    return f"{NOW - timedelta(seconds=ago):%Y-%m-%dT%H:%M:%SZ}"


def said(
    scaling: dict[str, Any], *, wake: float | None = None, sleep: float | None = None, paused: bool = False
) -> list[str]:
    """`wake`, `sleep`: asked so many seconds ago."""
    asked = {WAKE_ANNOTATION: wake, SLEEP_ANNOTATION: sleep}
    annotations = {name: at(ago) for name, ago in asked.items() if ago is not None}
    annotations |= {PAUSED_ANNOTATION: "true"} if paused else {}
    scaling = {"maxReplicas": 4, "idleAfter": f"{IDLE_AFTER}s", **scaling}
    remarks = desired(on_h100(annotations=annotations, scaling=scaling), now=NOW, activator=("10.0.0.8",)).remarks
    return [each for each in remarks if each.startswith("slipway.dev/")]


@pytest.mark.parametrize(
    ("scaling", "asked", "words"),
    [
        (HPA, WAKE, f"{WAKE_ANNOTATION}: it wakes nothing, because scaling.autoscaler HPA always keeps a replica."),
        (NONE, WAKE, f"{WAKE_ANNOTATION}: it wakes nothing, because scaling.autoscaler None always keeps a replica."),
        (KEDA, WAKE | {"paused": True}, f"{WAKE_ANNOTATION}: it wakes nothing, because {PAUSES}"),
        (KEDA, SLEEP | {"paused": True}, f"{SLEEP_ANNOTATION}: the model stays awake, because {PAUSES}"),
        (
            HPA,
            SLEEP,
            f"{SLEEP_ANNOTATION}: the model stays awake, because scaling.autoscaler HPA never scales to zero: let it "
            "be KEDA, and scaling.minReplicas 0.",
        ),
        (
            {"minReplicas": 1},
            SLEEP,
            f"{SLEEP_ANNOTATION}: the model stays awake, because scaling.minReplicas keeps 1 replica: let it be 0.",
        ),
        (
            {"minReplicas": 0, "schedule": [OFFICE]},
            SLEEP,
            f"{SLEEP_ANNOTATION}: the model stays awake, because '0 8 * * *' of scaling.schedule keeps 2 replicas for "
            "10h.",
        ),
    ],
)
def test_why_it_has_no_effect(scaling: dict[str, Any], asked: dict[str, Any], words: str) -> None:
    assert said(scaling, **asked) == [words]


@pytest.mark.parametrize("asked", [WAKE, SLEEP])
def test_nothing_is_said_where_it_has_one(asked: dict[str, Any]) -> None:
    assert said(KEDA, **asked) == []


@pytest.mark.parametrize("ago", [-1, IDLE_AFTER])
def test_nothing_is_said_before_it_or_when_it_is_over(ago: float) -> None:
    assert said(HPA, wake=ago) == said(HPA, sleep=ago) == []


def test_of_two_the_later_one_is_told_of() -> None:
    assert [each.split(":")[0] for each in said(HPA, wake=5, sleep=9)] == [WAKE_ANNOTATION]
    assert [each.split(":")[0] for each in said(HPA, wake=9, sleep=5)] == [SLEEP_ANNOTATION]


def test_what_can_not_be_read_is_told_of_too() -> None:
    wrong = on_h100(annotations={WAKE_ANNOTATION: "soon"})
    assert any("'soon' is no time" in each for each in desired(wrong, now=NOW).remarks)


@pytest.mark.parametrize(("ago", "seconds"), [(5, IDLE_AFTER - 5), (-5, 5), (-4000, 400), (IDLE_AFTER, None)])
def test_it_is_looked_at_again_when_something_else_is_to_be_said(ago: float, seconds: float | None) -> None:
    asked = on_h100(annotations={WAKE_ANNOTATION: at(ago)}, scaling={"idleAfter": f"{IDLE_AFTER}s"})
    due = desired(asked, now=NOW).look_again_at
    assert (None if due is None else (due - NOW).total_seconds()) == seconds
