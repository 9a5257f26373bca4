"""Replicas: none where none should start, and within bounds until an autoscaler is rendered."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from slipway.objects.kinds import HORIZONTAL_POD_AUTOSCALER, SCALED_OBJECT
from slipway.operator.rendering import ReplicaBounds
from support.builders.rendering import desired, of_kind, on_h100

CLASS = "serving.kserve.io/autoscalerClass"


def live(autoscaler: str) -> dict[str, Any]:
    return {"metadata": {"uid": "the live one", "annotations": {CLASS: autoscaler}}}


def live_deployment(replicas: int, *, owner: str = "the live one") -> dict[str, Any]:
    return {"metadata": {"ownerReferences": [{"uid": owner}]}, "spec": {"replicas": replicas}}


TABLE: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("new, at zero", {"minReplicas": 0}, {}, "none"),
    ("new, at zero by initialReplicas", {"minReplicas": 1, "initialReplicas": 0}, {}, "none"),
    ("new, with a replica", {"minReplicas": 1}, {}, "external"),
    ("new, with a replica by initialReplicas", {"minReplicas": 0, "initialReplicas": 1}, {}, "external"),
    ("KServe has created nothing yet", {}, {"inference_service": live("none")}, "none"),
    (
        "KServe has created the Deployment, at zero",
        {},
        {"inference_service": live("none"), "deployment": live_deployment(0)},
        "external",
    ),
    ("not at zero yet", {}, {"inference_service": live("none"), "deployment": live_deployment(1)}, "none"),
    ("only a predecessor's Deployment exists", {}, {"deployment": live_deployment(0)}, "none"),
    (
        "a predecessor's Deployment still exists",
        {},
        {"inference_service": live("none"), "deployment": live_deployment(0, owner="a predecessor")},
        "none",
    ),
    ("serving", {}, {"inference_service": live("external"), "deployment": live_deployment(3)}, "external"),
    ("serving, the Deployment isn't in the cache", {}, {"inference_service": live("external")}, "external"),
]


@pytest.mark.parametrize(("scaling", "world", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_the_autoscaler_class(scaling: dict[str, Any], world: dict[str, Any], expected: str) -> None:
    answer = desired(on_h100(scaling=scaling), **world)
    assert of_kind(answer, "InferenceService")["metadata"]["annotations"][CLASS] == expected
    assert (answer.replicas is None) == (expected == "none")


@pytest.mark.parametrize("autoscaler", ["KEDA", "HPA", "None"])
def test_nothing_scales_a_deployment_that_kserve_still_keeps_at_zero(autoscaler: str) -> None:
    """A reconcile of KServe that started under `none` would undo it."""
    kinds = frozenset({SCALED_OBJECT, HORIZONTAL_POD_AUTOSCALER})
    wanted = on_h100(scaling={"minReplicas": 1, "maxReplicas": 4, "initialReplicas": 0, "autoscaler": autoscaler})
    world = {"inference_service": live("external"), "kinds": kinds, "activator": ("10.0.0.8",)}
    made = live_deployment(0)
    found = {}
    for copied in ("none", "external"):
        made["metadata"]["annotations"] = {CLASS: copied}
        answer = desired(wanted, **world, deployment=made)
        scalers = {child.kind for child in answer.apply} & kinds
        found[copied] = len(scalers), answer.replicas is not None
    assert found["none"] == (0, False)
    assert found["external"] == {"KEDA": (1, False), "HPA": (1, True), "None": (0, True)}[autoscaler]


@pytest.mark.parametrize(
    ("scaling", "bounds"),
    [
        ({"minReplicas": 1, "maxReplicas": 4}, (1, 4)),
        ({"minReplicas": 2, "maxReplicas": 4, "autoscaler": "HPA"}, (2, 4)),
        ({"minReplicas": 2, "maxReplicas": 4, "autoscaler": "None"}, (2, 2)),
    ],
)
def test_replicas_stay_within_the_specs_bounds(scaling: dict[str, Any], bounds: tuple[int, int]) -> None:
    assert desired(on_h100(scaling=scaling)).replicas == ReplicaBounds("llama-predictor", *bounds)


def test_while_a_deployment_starts_at_zero_kserve_keeps_it_there() -> None:
    answer = desired(on_h100(scaling={"minReplicas": 2, "maxReplicas": 2, "initialReplicas": 0}))
    assert of_kind(answer, "InferenceService")["spec"]["predictor"]["minReplicas"] == 0


def test_without_keda_slipway_keeps_the_minimum_of_the_schedule() -> None:
    entry = {"cron": "0 8 * * *", "duration": "10h", "minReplicas": 3}
    wanted = on_h100(scaling={"minReplicas": 1, "maxReplicas": 4, "autoscaler": "None", "schedule": [entry]})
    at_noon, at_night = (datetime(2026, 11, 20, hour, tzinfo=UTC) for hour in (12, 20))
    assert desired(wanted, now=at_noon).replicas == ReplicaBounds("llama-predictor", 3, 3)
    assert desired(wanted, now=at_night).replicas == ReplicaBounds("llama-predictor", 1, 1)


def test_slipway_leaves_the_replicas_of_a_paused_deployment_as_they_are() -> None:
    paused = on_h100(annotations={"slipway.dev/paused": "true"}, scaling={"minReplicas": 2, "maxReplicas": 4})
    assert desired(paused).replicas is None


@pytest.mark.parametrize(
    ("scaling", "remark"),
    [
        (
            {"target": {"ttftP95": "1ms"}},
            "scaling.target: ttftP95 1ms can't be followed, because histograms tell times ",
        ),
        (
            {"target": {"ttftP95": "10m"}},
            "scaling.target: ttftP95 10m can't be followed, because histograms tell times ",
        ),
        ({"target": {"tpotP95": "1m"}}, "scaling.target: tpotP95 1m can't be followed, because histograms tell times "),
        ({"target": {"ttftP95": "1s"}, "autoscaler": "HPA"}, "scaling.target: autoscaler HPA can't follow ttftP95, "),
        ({"target": {"tpotP95": "1s"}, "autoscaler": "None"}, "scaling.target: autoscaler None can't follow tpotP95, "),
    ],
)
def test_times_that_nothing_follows_are_accepted_and_the_plan_says_so(scaling: dict[str, Any], remark: str) -> None:
    """Versions in which replicas followed no times have accepted them."""
    remarks = desired(on_h100(scaling={"minReplicas": 1, **scaling})).remarks
    assert [each[: len(remark)] for each in remarks if each.startswith("scaling.target")] == [remark]


@pytest.mark.parametrize("times", [{"ttftP95": "5ms", "tpotP95": "4s"}, {"ttftP95": "5m", "tpotP95": "1ms"}])
def test_nothing_is_remarked_on_times_that_are_followed(times: dict[str, str]) -> None:
    assert not [each for each in desired(on_h100(scaling={"target": times})).remarks if "scaling.target" in each]
