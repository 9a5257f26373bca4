"""Of however many pods, the relevant ones are known, and few are parsed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from slipway.activator.tracking.pod_summary import (
    MOST_SHOWN,
    RUNTIME_PROBE,
    PodSummary,
    ReadinessProbe,
    summary_of,
    those_that_count,
    those_worth_reading,
)
from slipway.api.engine_notes import USUAL
from slipway.observing.keeping import pod_shown

POD = PodSummary(
    name="a",
    uid="a",
    created="2026-11-21T09:00:00Z",
    version="v1",
    address="",
    is_ready=False,
    is_coming=False,
    is_leaving=False,
    container="",
    start=None,
)
COMING, READY = replace(POD, is_coming=True), replace(POD, is_ready=True)


def pods(like: PodSummary, number: int) -> list[PodSummary]:
    """The first is the oldest."""
    return [
        replace(like, name=f"{each:04}", created=f"2026-11-21T09:{each // 60:02}:{each % 60:02}Z")
        for each in range(number)
    ]


def test_a_ready_replica_counts_however_many_pods_are_newer() -> None:
    oldest = replace(READY, name="ready", created="2026-11-20T09:00:00Z")
    counted = those_that_count([*pods(COMING, 500), oldest], most=100)
    assert len(counted) == 100
    assert oldest in counted


def test_of_similar_pods_the_newest_count() -> None:
    for like in (COMING, READY):
        counted = those_that_count(pods(like, 500), most=100)
        assert sorted(each.name for each in counted) == [f"{each:04}" for each in range(400, 500)]


def test_of_a_few_pods_all_count_and_all_are_parsed() -> None:
    few = [*pods(COMING, 2 * MOST_SHOWN), replace(READY, name="ready")]
    assert those_that_count(few) == few
    assert {*those_worth_reading(few)} == {each.name for each in few}


def test_of_very_many_in_one_state_the_oldest_and_the_newest_are_parsed() -> None:
    chosen = those_worth_reading(pods(COMING, 500))
    assert len(chosen) == 2 * MOST_SHOWN
    assert {"0000", "0499"} <= {*chosen}


def test_many_in_one_state_hide_none_in_another() -> None:
    ready = replace(READY, name="ready")
    leaving, over = replace(POD, name="leaving", is_leaving=True), replace(POD, name="over")
    assert {"ready", "leaving", "over"} <= {*those_worth_reading([*pods(COMING, 500), ready, leaving, over])}


def test_an_older_version_is_not_parsed() -> None:
    newer = replace(COMING, name="new", version="v2", created="2026-11-22T09:00:00Z")
    assert those_worth_reading([*pods(COMING, 5), newer]) == ["new"]


# --- how a pod is probed ---------------------------------------------------------------------------------------------

OUR_PROBE = {"httpGet": {"path": "/readyz", "port": "management"}}
PORTS = [{"name": "http", "containerPort": 9000}, {"name": "management", "containerPort": 8081}]


def brief(probe: dict[str, Any] | None = None, **annotations: str) -> PodSummary:
    """What is stored of a pod with such an engine, behind a helper container."""
    engine: dict[str, Any] = {"name": "kserve-container", "ports": PORTS}
    helper = {"name": "a-helper", "readinessProbe": {"tcpSocket": {"port": 1}}}
    rendered = {f"slipway.dev/{name.replace('_', '-')}": text for name, text in annotations.items()}
    pod = {
        "metadata": {"name": "a", "uid": "a", "annotations": {"of": "others", **rendered}},
        "spec": {"containers": [helper, engine | ({"readinessProbe": probe} if probe else {})]},
        "status": {},
    }
    return summary_of(pod_shown(pod))


def test_our_own_runtime_is_probed_with_a_wait_for_readiness() -> None:
    assert brief(OUR_PROBE).probe == RUNTIME_PROBE
    assert brief().probe == RUNTIME_PROBE


@pytest.mark.parametrize("port", ["http", 9000])
def test_another_engine_is_probed_as_the_kubelet_does(port: str | int) -> None:
    assert brief({"httpGet": {"path": "/health?deep=1", "port": port}}).probe == ReadinessProbe(9000, "/health?deep=1")


@pytest.mark.parametrize(
    "probe",
    [
        {"tcpSocket": {"port": 9000}},
        {"exec": {"command": ["true"]}},
        {"httpGet": {"path": "/health", "port": "nowhere"}},
        {"httpGet": {"path": "/health", "port": 9000, "scheme": "HTTPS"}},
        {"httpGet": {"path": "/health", "port": 9000, "host": "169.254.169.254"}},
        {"httpGet": {"path": "/health", "port": 9000, "httpHeaders": [{"name": "a", "value": "b"}]}},
        {"httpGet": {"path": "/health\r\nX: y", "port": 9000}},
        {"httpGet": {"path": "/" + "x" * 300, "port": 9000}},
    ],
    ids=["socket", "command", "no such port", "TLS", "host", "headers", "line break", "long"],
)
def test_a_probe_that_only_the_kubelet_can_make_is_left_to_it(probe: dict[str, Any]) -> None:
    assert brief(probe).probe is None


def test_a_pod_without_metrics_annotations_gets_the_defaults() -> None:
    assert brief().metrics is USUAL


def test_metrics_annotations_of_a_pod_are_read() -> None:
    metrics = brief(in_flight="running", progress="done_total").metrics
    assert metrics
    assert [series.name for series in (*metrics.words.in_flight, *metrics.words.progress)] == ["running", "done_total"]


def test_a_pod_with_invalid_annotations_is_not_polled_for_metrics() -> None:
    assert brief(in_flight="sum(running)").metrics is None
    assert brief(progress="x " * 5000).metrics is None
