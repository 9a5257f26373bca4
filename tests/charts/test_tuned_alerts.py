"""An alert that is tuned in the chart's values fires at the new threshold: helm renders it, promtool runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.charts.helm import rendered
from support.monitoring.promtool import needed_for, run_tests

ALERT = "SlipwayPreempting"
PREEMPTIONS = 'vllm:num_preemptions_total{namespace="chat", llmdeployment="gemma", pod="a"}'
QUERY = f'count(ALERTS{{alertname="{ALERT}", alertstate="firing"}})'


def firing(minute: int, *, fires: bool) -> dict[str, Any]:
    return {"expr": QUERY, "eval_time": f"{minute}m", "exp_samples": [{"labels": "{}", "value": 1}] if fires else []}


def test_a_tuned_alert_fires_at_its_new_threshold_after_its_new_time(tmp_path: Path) -> None:
    values = {"perSecond": 0.5, "for": "20m", "severity": "info"}
    things = rendered("slipway", {"monitoring": {"rules": {"enabled": True, "alerts": {ALERT: values}}}})
    [rules] = [thing["spec"] for thing in things if thing["kind"] == "PrometheusRule"]
    test = {
        "interval": "1m",
        "input_series": [{"series": PREEMPTIONS, "values": "0+29x60 1769+36x60"}],
        "promql_expr_test": [firing(50, fires=False), firing(75, fires=False), firing(90, fires=True)],
    }
    assert run_tests(needed_for(ALERT, rules), {"tests": [test]}, tmp_path) == ""
