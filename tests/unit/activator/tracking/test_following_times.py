"""Which times the replicas of a model follow, and of how many replicas that is decided."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from slipway.activator.tracking.engine_metrics import EngineMetrics
from slipway.activator.tracking.following_times import MOST_REPLICAS, Followers, followed, replicas_of, targets_of
from slipway.activator.tracking.histograms import between, percentile
from slipway.activator.tracking.pod_summary import PodSummary
from slipway.activator.tracking.watches import needed_of_deployment
from slipway.api.model_key import ModelKey
from slipway.api.scaling import ScalingSpec
from slipway.contract.buckets import OF_TIMES
from slipway.objects.kinds import Object
from slipway.observing.following import OF_NAMESPACE
from slipway.observing.objectives import histograms_of
from support.repository import ROOT

POD = PodSummary(
    name="a",
    uid="a",
    created="2026-11-30T10:00:00Z",
    version="v1",
    address="10.0.0.1",
    is_ready=True,
    is_coming=False,
    is_leaving=False,
    container="",
    start=None,
)
OLD = replace(POD, created="2026-11-30T09:00:00Z", version="v0")
LOADS = replace(POD, is_ready=False, is_coming=True)
LEAVES = replace(POD, is_ready=False, is_leaving=True)
FAILED = replace(POD, is_ready=False)


def deployment(engine: str = "vllm", desired: Any = None) -> Object:
    status = {"replicas": {"desired": desired}} if desired is not None else None
    metadata = {"namespace": "team", "name": "qwen"}
    spec = {"engine": {"name": engine}, "model": {"uri": "hf://Qwen/Qwen3-0.6B"}}
    return needed_of_deployment({"metadata": metadata, "spec": spec, "status": status})  # as it is stored


def scaling(autoscaler: str = "KEDA", **target: str) -> ScalingSpec:
    return ScalingSpec.model_validate({"autoscaler": autoscaler, "minReplicas": 1, "target": target or None})


@pytest.mark.parametrize(
    ("engine", "target", "names"),
    [
        ("vllm", {"ttftP95": "500ms"}, {"ttft": ("vllm:time_to_first_token_seconds",)}),
        ("llamacpp", {"tpotP95": "40ms"}, {"tpot": ("slipway_time_per_output_token_seconds",)}),
        ("slipway-sglang", {"ttftP95": "500ms"}, {"ttft": ("sglang:time_to_first_token_seconds",)}),
        (
            "slipway-tgi",
            {"ttftP95": "500ms", "tpotP95": "40ms"},
            {"tpot": ("tgi_request_mean_time_per_token_duration",)},
        ),
        ("my-runtime", {"ttftP95": "500ms"}, {}),
        ("vllm", {"inFlight": "Auto"}, {}),
        ("vllm", {}, {}),
    ],
)
def test_the_histograms_are_those_of_the_engine(engine: str, target: dict[str, str], names: dict[str, object]) -> None:
    assert dict(followed(deployment(engine), scaling(**target))) == names


def test_only_keda_follows_times() -> None:
    assert targets_of(scaling(ttftP95="500ms", tpotP95="40ms")) == {"ttft": 0.5, "tpot": 0.04}
    assert targets_of(scaling("HPA", ttftP95="500ms")) == {}


def test_a_time_that_no_histogram_can_tell_is_not_followed() -> None:
    assert targets_of(scaling(ttftP95="10m", tpotP95="4s")) == {"tpot": 4.0}
    assert targets_of(scaling(ttftP95="5ms", tpotP95="1m")) == {"ttft": 0.005}


@pytest.mark.parametrize(
    ("pods", "desired", "expected"),
    [
        ([POD], 1, (1, 1)),
        ([POD, LOADS], 2, (1, 2)),
        ([POD, LOADS], 1, (1, 2)),
        ([POD], 3, (1, 3)),
        ([POD, LEAVES, FAILED], 1, (1, 1)),
        ([], 0, (0, 0)),
        ([OLD, OLD, POD], 2, (2, 2)),
        ([OLD, OLD, LOADS], 2, (2, 2)),
        ([OLD, OLD, OLD, OLD, LOADS], 4, (4, 4)),
        ([POD], None, (1, 1)),
        ([POD], "9", (1, 1)),
        ([POD], -5, (1, 1)),
        ([POD], True, (1, 1)),
        ([POD], 10**9, (1, MOST_REPLICAS)),
    ],
    ids=[
        "one", "one loads", "the status is late", "a pod isn't there yet", "leaving and failed ones don't count",
        "none", "a surge of an update", "its start", "that of many", "no status", "a string", "negative", "no number",
        "impossible",
    ],
)  # fmt: skip
def test_replicas_are_those_of_the_deployment(pods: list[PodSummary], desired: Any, expected: tuple[int, int]) -> None:
    found = replicas_of(deployment(desired=desired), pods, 8)
    assert (found.ready, found.wanted) == expected


@pytest.mark.parametrize(("file", "engine"), [("vllm-*.txt", "vllm"), ("llamacpp-*.txt", "llamacpp")])
def test_what_the_real_engines_export_is_read_and_has_the_boundaries_of_the_contract(file: str, engine: str) -> None:
    pages = list((ROOT / "monitoring/expositions").glob(file))
    assert pages
    for page in pages:
        metrics = EngineMetrics(times=tuple(histograms_of(engine).items()))
        metrics.add(page.read_bytes())
        reading = metrics.reading()
        assert reading is not None
        assert {name: {*buckets} for name, buckets in reading.times.items()} == {
            name: {*boundaries, math.inf} for name, boundaries in OF_TIMES.items()
        }
        assert all(percentile(between({}, buckets) or {}, 0.95) for buckets in reading.times.values())


def created(number: int) -> Object:
    """The later ones are younger."""
    metadata = {"namespace": "team", "name": f"m{number:03}", "creationTimestamp": f"2026-11-30T10:00:00.{number:03}Z"}
    return {"metadata": metadata}


def test_of_more_models_than_may_the_oldest_follow_times_and_the_next_one_when_one_is_gone() -> None:
    followers = Followers()
    for number in reversed(range(OF_NAMESPACE + 5)):
        followers.may_follow(created(number), 0.0)
    may = [followers.may_follow(created(number), 2.0) for number in range(OF_NAMESPACE + 5)]
    assert may == [True] * OF_NAMESPACE + [False] * 5
    followers.forget(ModelKey("team", "m000"))
    assert followers.may_follow(created(OF_NAMESPACE), 4.0)
    assert not followers.may_follow(created(OF_NAMESPACE + 1), 4.0)
