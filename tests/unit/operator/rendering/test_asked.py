"""Remarks about annotations that are to wake a model or send it to sleep, but have no effect."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from slipway.api.asked import TOLD_FOR
from slipway.api.llmdeployment import LLMDeployment
from slipway.api.names import PAUSED_ANNOTATION, SLEEP_ANNOTATION, WAKE_ANNOTATION
from support.builders.rendering import desired, on_h100

NOW = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)
IDLE_AFTER = 600
WAKE, SLEEP = {"wake": 5.0}, {"sleep": 5.0}
KEDA, HPA = {"minReplicas": 0}, {"minReplicas": 1, "autoscaler": "HPA"}
NONE = {"minReplicas": 1, "autoscaler": "None"}
OFFICE = {"cron": "0 8 * * *", "duration": "10h", "minReplicas": 2}
PAUSES = f"{PAUSED_ANNOTATION} keeps the number of replicas as it is: remove that first."


def at(ago: float) -> str:
    return f"{NOW - timedelta(seconds=ago):%Y-%m-%dT%H:%M:%SZ}"


def remarks_of(
    scaling: dict[str, Any], *, wake: float | None = None, sleep: float | None = None, paused: bool = False
) -> list[str]:
    """`wake`, `sleep`: the ages of the annotations in seconds."""
    ages = {WAKE_ANNOTATION: wake, SLEEP_ANNOTATION: sleep}
    annotations = {name: at(ago) for name, ago in ages.items() if ago is not None}
    annotations |= {PAUSED_ANNOTATION: "true"} if paused else {}
    scaling = {"maxReplicas": 4, "idleAfter": f"{IDLE_AFTER}s", **scaling}
    remarks = desired(on_h100(annotations=annotations, scaling=scaling), now=NOW, activator=("10.0.0.8",)).remarks
    return [each for each in remarks if each.startswith("slipway.dev/")]


@pytest.mark.parametrize(
    ("scaling", "ages", "words"),
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
def test_an_annotation_without_effect_has_a_remark_with_the_reason(
    scaling: dict[str, Any], ages: dict[str, Any], words: str
) -> None:
    assert remarks_of(scaling, **ages) == [words]


@pytest.mark.parametrize("ages", [WAKE, SLEEP])
def test_an_annotation_with_an_effect_has_no_remark(ages: dict[str, Any]) -> None:
    assert remarks_of(KEDA, **ages) == []


@pytest.mark.parametrize("ago", [-1, IDLE_AFTER])
def test_there_is_no_remark_before_its_timestamp_or_when_it_is_over(ago: float) -> None:
    assert remarks_of(HPA, wake=ago) == remarks_of(HPA, sleep=ago) == []


def test_if_there_are_two_the_remark_is_about_the_later_one() -> None:
    assert [each.split(":")[0] for each in remarks_of(HPA, wake=5, sleep=9)] == [WAKE_ANNOTATION]
    assert [each.split(":")[0] for each in remarks_of(HPA, wake=9, sleep=5)] == [SLEEP_ANNOTATION]


def test_an_unreadable_annotation_has_a_remark_too() -> None:
    model = on_h100(annotations={WAKE_ANNOTATION: "soon"})
    assert any("'soon' is not a time" in each for each in desired(model, now=NOW).remarks)


@pytest.mark.parametrize(("ago", "seconds"), [(5, IDLE_AFTER - 5), (-5, 5), (-400, 100), (IDLE_AFTER, None)])
def test_a_reconcile_is_due_when_the_remark_changes(ago: float, seconds: float | None) -> None:
    ages = on_h100(annotations={WAKE_ANNOTATION: at(ago)}, scaling={"idleAfter": f"{IDLE_AFTER}s"})
    due = desired(ages, now=NOW).look_again_at
    assert (None if due is None else (due - NOW).total_seconds()) == seconds


# --- over before it was written --------------------------------------------------------------------------------------


def late(name: str, *, ago: float, written: float, scaling: dict[str, Any] | None = None) -> LLMDeployment:
    """A model with an annotation whose timestamp is `ago` seconds old, and that was written `written` seconds ago."""
    fields: dict[str, Any] = {"f:metadata": {"f:annotations": {f"f:{name}": {}}}}
    metadata = {
        "name": "llama",
        "namespace": "chat",
        "uid": "4711",
        "annotations": {name: at(ago)},
        "managedFields": [{"manager": "kubectl-annotate", "time": at(written), "fieldsV1": fields}],
    }
    scaling = {"minReplicas": 0, "idleAfter": f"{IDLE_AFTER}s", **(scaling or {})}
    spec = {"model": {"uri": "hf://org/model"}, "accelerator": {"profiles": ["h100"]}, "scaling": scaling}
    return LLMDeployment.model_validate({"metadata": metadata, "spec": spec})


def late_remarks(wanted: LLMDeployment, *, after: float = 0) -> list[str]:
    moment = NOW + timedelta(seconds=after)
    remarks = desired(wanted, now=moment, activator=("10.0.0.8",)).remarks
    return [each for each in remarks if each.startswith("slipway.dev/")]


@pytest.mark.parametrize(("name", "effect"), [(WAKE_ANNOTATION, "wakes nothing"), (SLEEP_ANNOTATION, "has no effect")])
def test_local_time_behind_utc_written_as_utc_is_reported(name: str, effect: str) -> None:
    """The offset of New York in winter."""
    [remarks_of] = late_remarks(late(name, ago=5 * 3600 + 5, written=5))
    assert remarks_of == (
        f"{name}: 2026-11-21T04:59:55Z is in the past, so it {effect}: to act now, write the current time in UTC, as "
        "`date -u +%FT%TZ` prints it."
    )


@pytest.mark.parametrize("name", [WAKE_ANNOTATION, SLEEP_ANNOTATION])
def test_an_annotation_that_has_had_its_effect_has_no_remark(name: str) -> None:
    assert late_remarks(late(name, ago=7200, written=7199)) == []


def test_a_wake_is_over_when_a_request_would_no_longer_wait() -> None:
    long = {"idleAfter": "12h"}
    short = {**long, "hold": {"timeout": "1m"}}
    assert late_remarks(late(WAKE_ANNOTATION, ago=3605, written=5, scaling=long))
    assert late_remarks(late(WAKE_ANNOTATION, ago=65, written=5, scaling=short))
    assert not late_remarks(late(WAKE_ANNOTATION, ago=64, written=5, scaling=short))
    assert not late_remarks(late(SLEEP_ANNOTATION, ago=3605, written=5, scaling=long))


def test_the_remark_is_shown_for_a_while_and_then_a_reconcile_is_due() -> None:
    wanted = late(WAKE_ANNOTATION, ago=9999, written=5)
    assert desired(wanted, now=NOW).look_again_at == NOW + timedelta(seconds=TOLD_FOR - 5)
    assert late_remarks(wanted, after=TOLD_FOR - 6)
    assert not late_remarks(wanted, after=TOLD_FOR - 5)
    assert desired(wanted, now=NOW + timedelta(seconds=TOLD_FOR)).look_again_at is None
