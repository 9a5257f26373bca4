"""Metrics of two sources in one scrape."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from slipway_runtime.engines.open_metrics import is_wanted, page_of
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


# --- OpenMetrics -----------------------------------------------------------------------------------------------------

CLASSIC = """# HELP llamacpp:tokens_total Tokens, "all" of them.
# TYPE llamacpp:tokens_total counter
llamacpp:tokens_total 7
# HELP llamacpp:most The most.
# TYPE llamacpp:most counter
llamacpp:most 3
# TYPE llamacpp:plain untyped
llamacpp:plain 1
"""
GUARDS = """# HELP slipway_requests Answers.
# TYPE slipway_requests counter
slipway_requests_total{path="/a # {b"} 2.0 # {trace_id="4b"} 1.0 1764500000.5
# HELP slipway_ttft_seconds Time.
# TYPE slipway_ttft_seconds histogram
slipway_ttft_seconds_bucket{le="0.1"} 1.0 # {trace_id="4b"} 0.05 1764500000.5
slipway_ttft_seconds_bucket{le="+Inf"} 1.0
slipway_ttft_seconds_count 1.0
slipway_ttft_seconds_sum 0.05
# EOF
"""


def test_a_page_in_open_metrics_is_valid_whatever_its_parts_were() -> None:
    page = merge(OURS, CLASSIC + GUARDS, THEIRS, open_metrics=True)
    parsed: list[Metric] = list(text_string_to_metric_families(page))  # type: ignore[no-untyped-call]
    families = {family.name: family for family in parsed}
    assert {name: family.type for name, family in families.items()} == {
        "slipway_state": "gauge",
        "llamacpp:tokens": "counter",
        "llamacpp:most": "unknown",
        "llamacpp:plain": "unknown",
        "slipway_requests": "counter",
        "slipway_ttft_seconds": "histogram",
        "vllm:running": "gauge",
        "vllm:ttft": "histogram",
    }
    assert families["llamacpp:tokens"].documentation == 'Tokens, "all" of them.'
    assert families["slipway_requests"].samples[0].value == 2
    exemplar = families["slipway_ttft_seconds"].samples[0].exemplar
    assert exemplar
    assert (exemplar.labels, exemplar.value) == ({"trace_id": "4b"}, 0.05)


def test_a_histogram_whose_name_ends_like_a_counters_keeps_it() -> None:
    page = "# TYPE vllm:tokens_total histogram\n" + "".join(
        f"vllm:tokens_total_{rest} 1.0\n" for rest in ('bucket{le="+Inf"}', "count", "sum")
    )
    assert merge(page, open_metrics=True) == page + "# EOF\n"


def test_a_sample_that_two_pages_have_counts_once_whatever_its_exemplar() -> None:
    again = GUARDS.replace("1764500000.5", "1764500009.5")
    assert merge(GUARDS, again, open_metrics=True) == merge(GUARDS, open_metrics=True)


def test_samples_with_exemplars_are_summed() -> None:
    assert total(GUARDS, "slipway_requests_total") == 2


def test_the_page_of_a_registry_has_names_with_colons() -> None:
    registry = CollectorRegistry()
    Counter("vllm:tokens", "Tokens.", registry=registry).inc(3)
    page = page_of(registry).decode()
    assert "# TYPE vllm:tokens counter\nvllm:tokens_total 3.0\n" in page


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        ("application/openmetrics-text", True),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=0.4,text/plain;version=0.0.4;q=0.5", False),
        ("text/plain;q=0.5, Application/OpenMetrics-Text; version=1.0.0", True),
        ("application/openmetrics-text;q=much", False),
        ("application/openmetrics-text;q=nan", False),
        pytest.param(
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
            "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            True,
            id="Prometheus 2.42",
        ),
        pytest.param(
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
            "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
            "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            True,
            id="Prometheus 3",
        ),
    ],
)
def test_the_format_is_the_one_that_the_client_prefers(accept: str, wanted: bool) -> None:
    assert is_wanted(accept) == wanted
