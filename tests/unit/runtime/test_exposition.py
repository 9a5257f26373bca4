"""Metrics of two sources in one scrape."""

from __future__ import annotations

import pytest
from slipway_runtime.supervisor.exposition import merge, total

OURS = """# HELP slipway_state The state.
# TYPE slipway_state gauge
slipway_state{state="Ready"} 1.0
"""
THEIRS = """# HELP vllm:running Requests.
# TYPE vllm:running gauge
vllm:running{model_name="a\\"} b # HELP",engine="0"} 3.0
# HELP vllm:ttft Seconds.
# TYPE vllm:ttft histogram
vllm:ttft_bucket{le="0.1"} 1.0
vllm:ttft_bucket{le="+Inf"} 2.0
vllm:ttft_sum 0.3
vllm:ttft_count 2.0
"""


def test_all_samples_of_both_are_there() -> None:
    assert merge(OURS, THEIRS) == OURS + THEIRS


def test_a_family_of_both_has_one_header_and_its_samples_stay_together() -> None:
    more = '# HELP slipway_state Again.\n# TYPE slipway_state gauge\nslipway_state{state="Idle"} 2\n'
    more += 'slipway_state{state="Ready"} 9\n'
    assert merge(OURS + THEIRS, more) == OURS + 'slipway_state{state="Idle"} 2\n' + THEIRS


def test_samples_without_comments_are_kept() -> None:
    assert merge("a 1\n", "b 2\n") == "a 1\nb 2\n"


def test_the_end_mark_of_openmetrics_is_left_out() -> None:
    assert merge("a 1\n# EOF\n", "b 2\n") == "a 1\nb 2\n"


@pytest.mark.parametrize(
    ("name", "sum_"),
    [("vllm:running", 3.0), ("vllm:ttft_bucket", 3.0), ("vllm:ttft_count", 2.0), ("vllm:ttft", None), ("HELP", None)],
)
def test_a_sum_over_all_labels(name: str, sum_: float | None) -> None:
    assert total(THEIRS, name) == sum_


def test_a_sample_with_a_timestamp_is_read() -> None:
    assert total('a{b="c"} 4 1700000000000\na 1e3\n', "a") == 1004
