"""What recording rules record of one engine or another: computed by promtool from series as programs expose them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from support.monitoring.promtool import needed_for, run_tests
from support.repository import CHARTS

RULES = yaml.safe_load((CHARTS.parent / "monitoring/rules.yaml").read_text())
GEMMA = 'namespace="chat", llmdeployment="gemma"'
Series = Mapping[str, str]


def of_gemma(name: str, labels: str = "", pod: str = "a") -> str:
    return f'{name}{{{GEMMA}, pod="{pod}"{labels and ", " + labels}}}'


def histogram(name: str, values: Mapping[str, str], pod: str = "a") -> dict[str, str]:
    return {of_gemma(f"{name}_bucket", f'le="{le}"', pod): counts for le, counts in values.items()}


def recorded(series: Series, folder: Path, name: str, expected: Mapping[str, float], at: str = "20m") -> str:
    """Returns promtool's complaints, if the rule doesn't record these values by their further labels."""
    samples = [
        {"labels": f"{{{GEMMA}{labels and ', ' + labels}}}", "value": value} for labels, value in expected.items()
    ]
    test = {
        "interval": "1m",
        "input_series": [{"series": each, "values": values} for each, values in series.items()],
        "promql_expr_test": [{"expr": f"round({name}, 0.001)", "eval_time": at, "exp_samples": samples}],
    }
    return run_tests(needed_for(name, RULES), {"tests": [test]}, folder)


# --- times ------------------------------------------------------------------------------------------------------------

TTFT = "slipway:ttft_seconds:bucket_rate5m"
QUANTILE = "slipway:ttft_seconds:quantile"
GUARD = histogram("slipway_time_to_first_token_seconds", {"0.5": "0+60x30", "1.0": "0+60x30", "+Inf": "0+60x30"})


def test_histograms_of_all_replicas_are_summed_and_vllms_own_count(tmp_path: Path) -> None:
    name = "vllm:time_to_first_token_seconds"
    first = histogram(name, {"0.5": "0+60x30", "+Inf": "0+120x30"})
    second = histogram(name, {"0.5": "0+120x30", "+Inf": "0+120x30"}, pod="b")
    assert recorded({**first, **second, **GUARD}, tmp_path, TTFT, {'le="0.5"': 3, 'le="+Inf"': 4}) == ""


def test_for_llamacpp_the_guards_histogram_counts(tmp_path: Path) -> None:
    expected = {'le="0.5"': 1, 'le="1.0"': 1, 'le="+Inf"': 1}
    assert recorded(GUARD, tmp_path, TTFT, expected) == ""


def test_an_engine_of_other_makers_has_the_same_name(tmp_path: Path) -> None:
    sglang = histogram("sglang:time_to_first_token_seconds", {"0.5": "0+60x30", "+Inf": "0+60x30"})
    assert recorded(sglang, tmp_path, TTFT, {'le="0.5"': 1, 'le="+Inf"': 1}) == ""


def test_without_requests_there_is_no_quantile(tmp_path: Path) -> None:
    idle = histogram("vllm:time_to_first_token_seconds", {"0.5": "7x30", "1.0": "9x30", "+Inf": "9x30"})
    assert recorded(idle, tmp_path, QUANTILE, {}) == ""


def test_a_quantile_lies_between_the_boundaries(tmp_path: Path) -> None:
    half = histogram("vllm:time_to_first_token_seconds", {"0.5": "0+60x30", "1.5": "0+120x30", "+Inf": "0+120x30"})
    expected = {'quantile="0.5"': 0.5, 'quantile="0.95"': 1.4, 'quantile="0.99"': 1.48}
    assert recorded(half, tmp_path, QUANTILE, expected) == ""


def test_a_replica_that_starts_again_doesnt_make_rates_negative(tmp_path: Path) -> None:
    again = {of_gemma("vllm:generation_tokens_total", 'engine="0"'): "0+60x14 0+60x20"}
    assert recorded(again, tmp_path, "slipway:output_tokens:rate5m", {"": 1}) == ""


# --- requests ---------------------------------------------------------------------------------------------------------

ERRORS = "slipway:request_errors:ratio5m"


def answered(status: int, values: str, pod: str = "a") -> dict[str, str]:
    return {of_gemma("slipway_requests_total", f'status="{status}", key="k", path="/v1/completions"', pod): values}


def refused(reason: str, values: str) -> dict[str, str]:
    return {of_gemma("slipway_activator_refused_total", f'reason="{reason}"', "activator-0"): values}


def test_failures_and_refusals_are_errors_and_what_clients_or_owners_cause_is_not(tmp_path: Path) -> None:
    counted = {**answered(200, "0+80x30"), **answered(500, "0+10x30"), **refused("HoldTimeout", "0+10x30")}
    others = {**answered(429, "0+99x30"), **refused("invalid_api_key", "0+99x30"), **refused("Deleting", "0+99x30")}
    assert recorded({**counted, **others}, tmp_path, ERRORS, {"": 0.2}) == ""


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        (answered(200, "0+60x30"), {"": 0}),
        (answered(503, "0+60x30"), {"": 1}),
        (refused("HoldFull", "0+60x30"), {"": 1}),
        (answered(200, "60x30"), {}),
        (answered(400, "0+60x30"), {}),
    ],
    ids=["none failed", "all failed", "all refused", "no requests", "only clients' faults"],
)
def test_the_error_ratio_at_its_ends(series: Series, expected: Mapping[str, float], tmp_path: Path) -> None:
    assert recorded(series, tmp_path, ERRORS, expected) == ""


SCRAPED = {of_gemma("up", 'job="chat/gemma", instance="a"'): "1x30"}
JOB = 'job="chat/gemma", instance="a"'


def failed_at_once(values: str) -> dict[str, str]:
    labels = f'status="502", key="k", path="/v1/completions", {JOB}'
    return {of_gemma("slipway_requests_total", labels): values}


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        ({**SCRAPED, **failed_at_once("_x18 60x10")}, {'code="5xx"': 0.2}),
        ({**SCRAPED, **failed_at_once("_x10 60x20")}, {'code="5xx"': 0}),
        ({**SCRAPED, **failed_at_once("0+60x18 1080x10")}, {'code="5xx"': 0.6}),
        ({of_gemma("up", JOB): "_x18 1x10", **failed_at_once("_x18 60x10")}, {'code="5xx"': 0}),
        ({of_gemma("up", JOB): "1x9 0x8 1x10", **failed_at_once("60x9 stale _x7 60x10")}, {'code="5xx"': 0}),
    ],
    ids=["now", "ten minutes ago", "known for long", "a new target", "a target that was gone"],
)
def test_failures_that_come_all_at_once_and_first_of_their_kind_are_counted(
    series: Series, expected: Mapping[str, float], tmp_path: Path
) -> None:
    """60 in five minutes are 0.2 per second. The target has another endpoint, too."""
    other = {of_gemma("up", f'{JOB}, endpoint="in-flight"'): "1x30"}
    assert recorded({**other, **series}, tmp_path, "slipway:requests:rate5m", expected) == ""


def test_refusals_that_are_the_first_for_their_reason_are_counted(tmp_path: Path) -> None:
    target = 'job="activators", instance="b"'
    series = {
        f'up{{namespace="slipway-system", pod="activator-0", {target}}}': "1x30",
        of_gemma("slipway_activator_refused_total", f'reason="ModelNotFound", {target}', "activator-0"): "_x18 30x10",
    }
    assert recorded(series, tmp_path, "slipway:requests:rate5m", {'code="refused"': 0.1}) == ""


# --- engines ----------------------------------------------------------------------------------------------------------


def test_hits_of_llamacpp_are_a_share_of_all_tokens(tmp_path: Path) -> None:
    series = {
        of_gemma("llamacpp:prompt_tokens_cached_total"): "0+30x30",
        of_gemma("llamacpp:prompt_tokens_total"): "0+90x30",
    }
    assert recorded(series, tmp_path, "slipway:prefix_cache_hits:ratio5m", {"": 0.25}) == ""


def test_without_speculation_there_is_no_acceptance(tmp_path: Path) -> None:
    kinds = ("accepted", "draft")
    series = {of_gemma(f"vllm:spec_decode_num_{kind}_tokens_total"): "0+0x30" for kind in kinds}
    assert recorded(series, tmp_path, "slipway:speculative_acceptance:ratio5m", {}) == ""


@pytest.mark.parametrize("prefix", ["", "exported_"])
def test_memory_of_gpus_is_that_of_the_pods_of_a_model(prefix: str, tmp_path: Path) -> None:
    """DCGM's exporter names the pod that uses a GPU; `exported_`, if the labels of its own pod are kept."""
    own = 'namespace="gpu", pod="exporter", ' if prefix else ""
    series = {
        f'up{{{GEMMA}, pod="a", job="chat/gemma", endpoint="x"}}': "1x30",
        f'up{{{GEMMA}, pod="a", job="chat/gemma", endpoint="in-flight"}}': "1x30",
        f'DCGM_FI_DEV_FB_USED{{{own}{prefix}namespace="chat", {prefix}pod="a", gpu="0"}}': "1000x30",
        f'DCGM_FI_DEV_FB_USED{{{own}{prefix}namespace="chat", {prefix}pod="a", gpu="1"}}': "24x30",
        f'DCGM_FI_DEV_FB_USED{{{own}{prefix}namespace="other", {prefix}pod="a", gpu="2"}}': "5000x30",
    }
    assert recorded(series, tmp_path, "slipway:gpu_memory_used:bytes", {"": 1024 * 1024 * 1024}) == ""


# --- objectives and costs ---------------------------------------------------------------------------------------------


def test_goodput_is_the_least_share_of_any_objective(tmp_path: Path) -> None:
    first = histogram("vllm:time_to_first_token_seconds", {"0.5": "0+54x30", "+Inf": "0+60x30"})
    per_token = histogram("vllm:request_time_per_output_token_seconds", {"0.05": "0+30x30", "+Inf": "0+60x30"})
    wanted = {
        of_gemma("slipway_slo_objective", 'slo="ttft", le="0.5"', "o"): "0.95x30",
        of_gemma("slipway_slo_objective", 'slo="tpot", le="0.05"', "o"): "0.95x30",
    }
    assert recorded({**first, **per_token, **wanted}, tmp_path, "slipway:goodput:ratio5m", {"": 0.5}) == ""


def test_of_a_pod_without_the_boundary_no_request_counts(tmp_path: Path) -> None:
    """An older version of Slipway has made it, and all replicas are being replaced."""
    name, objective = "vllm:time_to_first_token_seconds", 'slo="ttft"'
    series = {
        **histogram(name, {"0.5": "0+54x30", "+Inf": "0+60x30"}, pod="new"),
        **histogram(name, {"0.25": "0+600x30", "+Inf": "0+600x30"}, pod="old"),
        of_gemma("slipway_slo_objective", 'slo="ttft", le="0.5"', "o"): "0.95x30",
    }
    assert recorded(series, tmp_path, "slipway:slo_requests:rate5m", {objective: 1}) == ""
    assert recorded(series, tmp_path, "slipway:slo_good:rate5m", {objective: 0.9}) == ""


def test_with_such_pods_alone_nothing_counts(tmp_path: Path) -> None:
    """Not the guard's histogram of the same pods, either: it counts streams only."""
    series = {
        **histogram("vllm:time_to_first_token_seconds", {"0.25": "0+600x30", "+Inf": "0+600x30"}),
        **histogram("slipway_time_to_first_token_seconds", {"0.5": "0+600x30", "+Inf": "0+600x30"}),
        of_gemma("slipway_slo_objective", 'slo="ttft", le="0.5"', "o"): "0.95x30",
    }
    assert recorded(series, tmp_path, "slipway:slo_requests:rate5m", {}) == ""


def test_what_is_left_of_an_error_budget_is_recorded_for_the_models_window(tmp_path: Path) -> None:
    """Of 100 requests, one may fail, and half of one does."""
    series = {
        **answered(200, "0+199x180"),
        **answered(500, "0+1x180"),
        of_gemma("slipway_slo_availability_objective", pod="o"): "0.99x180",
        of_gemma("slipway_slo_window_seconds", pod="o"): "604800x180",
    }
    expected = {'slo="availability", window="7d"': 0.5}
    assert recorded(series, tmp_path, "slipway:slo_budget_left:ratio", expected, at="2h30m") == ""


def test_a_ledger_that_starts_again_is_no_data_and_not_a_negative_cost(tmp_path: Path) -> None:
    created_again = {of_gemma("slipway_cost_total", 'accelerator="l4"', "o"): "100+1x30 0+1x20"}
    assert recorded(created_again, tmp_path, "slipway:cost:increase1h", {}, at="45m") == ""


def test_another_operator_that_leads_goes_on_with_the_ledger(tmp_path: Path) -> None:
    series = {
        of_gemma("slipway_cost_total", 'accelerator="l4"', "operator-0"): "0+1x60 stale",
        of_gemma("slipway_cost_total", 'accelerator="l4"', "operator-1"): "_x62 62+1x120",
    }
    assert recorded(series, tmp_path, "slipway:cost:increase1h", {"": 60}, at="2h") == ""


def ledger(busy: str) -> Series:
    """A device is held for two hours."""
    accelerator = 'accelerator="l4"'
    return {
        of_gemma("slipway_device_seconds_total", accelerator, "o"): "0+60x120",
        of_gemma("slipway_busy_device_seconds_total", accelerator, "o"): busy,
    }


IDLE = "slipway:idle_device_hours:increase1h"


def test_what_was_not_used_of_the_last_hour_is_idle(tmp_path: Path) -> None:
    assert recorded(ledger("0+15x120"), tmp_path, IDLE, {"": 0.75}, at="2h") == ""


def test_an_hour_of_which_a_part_is_unknown_is_not_idle(tmp_path: Path) -> None:
    """Pods that reported no use were replaced half an hour ago."""
    assert recorded(ledger("_x90 0+15x30"), tmp_path, IDLE, {}, at="2h") == ""
