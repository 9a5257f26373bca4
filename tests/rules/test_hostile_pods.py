"""A tenant's pod may expose any series under its own labels: no rule fails because of it, and no one else's alert.

Prometheus refuses to evaluate a rule in which two series have the same labels where one is expected. Such a rule would
fail for all models.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import yaml
from slipway_monitoring.alerts import ALERTS
from slipway_monitoring.documents import expressions
from slipway_monitoring.use import names_in
from slipway_monitoring.vocabulary import GROUPS
from support.monitoring.promtool import run_tests
from support.repository import CHARTS

RULES = yaml.safe_load((CHARTS.parent / "monitoring/rules.yaml").read_text())
RECORDINGS = [*chain.from_iterable(group.recordings for group in GROUPS)]
NAMES = sorted(set(chain.from_iterable(names_in(each) for _, each in expressions(RECORDINGS, ALERTS))))
LABELS = {
    "reason": ("GpuOutOfMemory", "none"),
    "state": ("Failed", "None"),
    "kind": ("ready", "max", "pods", "prompt", "completion"),
    "slo": ("ttft", "tpot", "e2e", "availability"),
    "le": ("0.5", "+Inf"),
    "code": ("2xx", "5xx", "refused"),
    "status": ("200", "500"),
    "phase": ("total",),
    "result": ("failed",),
    "period": ("day",),
}
"""Values that rules look for, each with one that makes a second series."""

VICTIM = 'slipway_activator_oldest_hold_seconds{namespace="chat", llmdeployment="gemma", pod="activator-0"}'


def forged() -> list[dict[str, Any]]:
    """Of each series that any rule reads, several from two pods that differ in labels that no one expects."""
    found = []
    for name in NAMES:
        for label, values in LABELS.items():
            for pod, value in ((pod, value) for pod in ("a", "b") for value in values):
                labels = f'namespace="hostile", llmdeployment="x", pod="{pod}", odd="{pod}", {label}="{value}"'
                found.append({"series": f"{name}{{{labels}}}", "values": "0+7x14"})
    return found


def test_forged_series_break_no_rule_and_hide_no_alert(tmp_path: Path) -> None:
    expected = {"namespace": "chat", "llmdeployment": "gemma", "severity": "critical"}
    test = {
        "interval": "30s",
        "input_series": [{"series": VICTIM, "values": "400x14"}, *forged()],
        "promql_expr_test": [
            {
                "expr": 'ALERTS{alertname="SlipwayRequestsHeldTooLong", namespace!="hostile"}',
                "eval_time": "6m",
                "exp_samples": [
                    {
                        "labels": _series(
                            "ALERTS", alertname="SlipwayRequestsHeldTooLong", alertstate="firing", **expected
                        ),
                        "value": 1,
                    }
                ],
            },
            {
                "expr": 'count(ALERTS{namespace!~"hostile|chat", alertname!~".*WithoutLeader|.*TargetMissing"})',
                "eval_time": "6m",
                "exp_samples": [],
            },
        ],
    }
    assert run_tests(RULES, {"tests": [test]}, tmp_path) == ""


def _series(name: str, **labels: str) -> str:
    return f"{name}{{{', '.join(f'{label}={value!r}' for label, value in labels.items())}}}".replace("'", '"')
