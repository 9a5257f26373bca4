"""Each alert fires when it should and not before, says what it should, and ends: promtool, without a cluster.

`monitoring/tests/NAME.yaml` has the tests of the alert NAME, in promtool's own format.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from slipway_monitoring.alerts import ALERTS
from slipway_monitoring.rule import Alert
from support.monitoring.promtool import check, needed_for, run_tests
from support.repository import CHARTS

ROOT = CHARTS.parent
RULES = ROOT / "monitoring/rules.yaml"
TESTS = ROOT / "monitoring/tests"

each_alert = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)


def file_of(alert: Alert) -> Any:
    return yaml.safe_load((TESTS / f"{alert.name}.yaml").read_text())


def test_prometheus_reads_the_rules() -> None:
    assert check(RULES) == ""


@each_alert
def test_an_alert_fires_and_ends_as_its_file_says(alert: Alert, tmp_path: Path) -> None:
    rules = needed_for(alert.name, yaml.safe_load(RULES.read_text()))
    assert run_tests(rules, file_of(alert), tmp_path) == ""


@each_alert
def test_the_file_of_an_alert_shows_it_silent_before_it_fires_firing_and_silent_again(alert: Alert) -> None:
    checks = [check for each in file_of(alert)["tests"] for check in each["alert_rule_test"]]
    shown = [bool(check["exp_alerts"]) for check in checks if check["alertname"] == alert.name]
    first = shown.index(True)
    assert shown[:first].count(False) >= 2  # just below, and before its time
    assert not shown[-1]
    fired = [each for check in checks for each in check["exp_alerts"]]
    assert all(each["exp_annotations"].keys() == {"summary", "description", "runbook_url"} for each in fired)
    assert len({tuple(sorted(each["exp_labels"].items())) for each in fired}) >= len(alert.conditions)


def test_every_file_of_tests_has_its_alert() -> None:
    assert {file.stem for file in TESTS.glob("*")} == {alert.name for alert in ALERTS}
