"""Histograms of an engine's metrics are read within limits, and their percentiles are those of Prometheus."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slipway.activator.tracking.engine_metrics import EngineMetrics, MetricsReading
from slipway.activator.tracking.histograms import MOST_BUCKETS, between, percentile, sum_of

NAMES = (("ttft", ("vllm:time_to_first_token_seconds",)),)
PAGE = """# TYPE vllm:time_to_first_token_seconds histogram
vllm:num_requests_running{engine="0"} 2.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.5",model_name="a} le=\\"9\\""} 3.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="1.0",model_name="a} le=\\"9\\""} 4.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="a} le=\\"9\\""} 5.0
vllm:time_to_first_token_seconds_bucket{engine="1",le="0.5"} 1.0
vllm:time_to_first_token_seconds_bucket{engine="1",le="1.0"} 1.0
vllm:time_to_first_token_seconds_bucket{engine="1",le="+Inf"} 1.0
vllm:time_to_first_token_seconds_count{engine="0"} 6.0
vllm:time_to_first_token_seconds_bucket_of_another{le="0.5"} 99
"""
BUCKET = 'vllm:time_to_first_token_seconds_bucket{{le="{}"}} {}\n'


def read(page: str, *, piece: int = 0) -> MetricsReading | None:
    metrics, data = EngineMetrics(times=NAMES), page.encode()
    for begin in range(0, len(data), piece or len(data)):
        metrics.add(data[begin : begin + (piece or len(data))])
    return metrics.reading()


def times(page: str) -> dict[str, object]:
    found = read("vllm:num_requests_running 1\n" + page)
    assert found is not None  # what is wrong with times says nothing about the requests in flight
    return dict(found.times)


def test_all_series_of_a_histogram_are_added_up() -> None:
    assert times(PAGE) == {"ttft": {0.5: 4, 1.0: 5, math.inf: 6}}


@given(st.integers(1, 90))
def test_a_page_that_arrives_in_pieces_is_read_alike(piece: int) -> None:
    assert read(PAGE, piece=piece) == read(PAGE)


def test_histograms_that_are_not_followed_are_not_read() -> None:
    metrics = EngineMetrics()
    metrics.add(PAGE.encode())
    assert metrics.reading() == MetricsReading(2, 0)


@pytest.mark.parametrize(
    "lines",
    [
        BUCKET.format("0.5", "NaN"),
        BUCKET.format("0.5", "-1"),
        BUCKET.format("0.5", "+Inf"),
        BUCKET.format("0.5", "1e300"),
        BUCKET.format("0.5", "1_0"),
        BUCKET.format("NaN", "1"),
        BUCKET.format("-1", "1"),
        BUCKET.format("1" * 40, "1"),
        BUCKET.format("soon", "1"),
        'vllm:time_to_first_token_seconds_bucket{model="a"} 1\n',
        "".join(BUCKET.format(number, 1) for number in range(MOST_BUCKETS + 1)),
    ],
)
def test_a_histogram_that_can_not_be_true_counts_as_none(lines: str) -> None:
    assert times(lines) == {}


def test_what_was_added_is_in_each_bucket_alone() -> None:
    assert between({0.5: 1, 1.0: 2, math.inf: 2}, {0.5: 4, 1.0: 7, math.inf: 8}) == {0.5: 3, 1.0: 2, math.inf: 1}
    assert between({}, {0.5: 4, math.inf: 4}) == {0.5: 4, math.inf: 0}


@pytest.mark.parametrize("after", [{0.5: 0, math.inf: 3}, {0.5: 1}, {}])
def test_a_counter_that_goes_back_has_added_nothing(after: dict[float, float]) -> None:
    assert between({0.5: 1, math.inf: 3}, after) is None


def test_counts_that_fall_within_one_histogram_are_not_negative() -> None:
    assert between({}, {0.5: 4, 1.0: 2, math.inf: 5}) == {0.5: 4, 1.0: 0, math.inf: 1}


@pytest.mark.parametrize(
    ("buckets", "expected"),
    [
        ({0.5: 100, math.inf: 0}, 0.475),
        ({0.5: 90, 1.0: 10, math.inf: 0}, 0.75),
        ({0.5: 90, 1.0: 0, math.inf: 10}, 1.0),
        ({math.inf: 10}, None),
        ({0.5: 0, math.inf: 0}, None),
        ({}, None),
    ],
    ids=["in the first", "in the middle of the second", "above all", "no boundary", "no value", "nothing"],
)
def test_a_percentile_is_interpolated_within_its_bucket(buckets: dict[float, float], expected: float | None) -> None:
    assert percentile(buckets, 0.95) == (None if expected is None else pytest.approx(expected))


def test_the_percentile_of_replicas_is_that_of_their_requests_and_no_mean_of_percentiles() -> None:
    quick, slow = {0.5: 990, 8.0: 0, math.inf: 0}, {0.5: 0, 8.0: 10, math.inf: 0}
    assert percentile(sum_of([quick, slow]), 0.95) == pytest.approx(0.5 * 950 / 990)


def test_replicas_may_have_different_boundaries() -> None:
    assert sum_of([{0.5: 1, math.inf: 0}, {0.4: 2, math.inf: 1}]) == {0.5: 1, 0.4: 2, math.inf: 1}
