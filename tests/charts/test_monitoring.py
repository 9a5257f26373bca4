"""Recording rules and alerts of the chart: nothing by default, each alert switchable and tunable alone."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from support.builders.objects import Object
from support.charts.helm import Refused, rendered
from support.repository import CHARTS

DEFAULTS = yaml.safe_load((CHARTS.parent / "monitoring/rules.yaml").read_text())
ALERT = "SlipwayAtMaxReplicas"


def rules_object(**rules: Any) -> Object:
    [found] = [thing for thing in _with(rules) if thing["metadata"]["name"] == "slipway-rules"]
    return found


def _with(rules: dict[str, Any]) -> list[Object]:
    return rendered("slipway", {"monitoring": {"rules": {"enabled": True, **rules}}})


def alerts_of(thing: Object) -> dict[str, Any]:
    groups = thing["spec"]["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


def test_by_default_there_are_none() -> None:
    assert not [thing for thing in rendered("slipway") if thing["kind"] == "PrometheusRule"]
    assert not [thing for thing in rendered("slipway") if thing["metadata"]["name"] == "slipway-rules"]


def test_with_default_values_the_rules_are_those_that_promtool_tests() -> None:
    thing = rules_object(labels={"release": "prometheus"})
    assert thing["kind"] == "PrometheusRule"
    assert thing["metadata"]["labels"]["release"] == "prometheus"
    assert thing["spec"] == DEFAULTS


def test_a_config_map_has_the_same_rules_as_a_file() -> None:
    thing = rules_object(kind="ConfigMap")
    assert yaml.safe_load(thing["data"]["slipway.rules.yaml"]) == DEFAULTS


def test_an_alert_is_switched_off_alone() -> None:
    others = alerts_of(rules_object())
    others.pop(ALERT)
    assert alerts_of(rules_object(alerts={ALERT: {"enabled": False}})) == others


def test_an_alert_is_tuned_alone() -> None:
    tuned = alerts_of(rules_object(alerts={ALERT: {"severity": "info", "for": "1h30m", "waiting": 2000000}}))
    before = alerts_of(rules_object())
    rule = tuned.pop(ALERT)
    assert (rule["for"], rule["labels"]["severity"]) == ("1h30m", "info")
    assert ">= 2000000\n" in rule["expr"]
    before.pop(ALERT)
    assert tuned == before


@pytest.mark.parametrize(
    ("alerts", "error"),
    [
        ({"SlipwayAtMaxReplica": {"enabled": False}}, f"renamed to monitoring.rules.alerts.{ALERT}"),
        ({ALERT: {"wating": 3}}, f"renamed to monitoring.rules.alerts.{ALERT}.waiting"),
        ({ALERT: {"threshold": 3}}, "additional properties 'threshold' not allowed"),
        ({ALERT: {"severity": "page"}}, "must be one of 'critical', 'warning', 'info'"),
        ({ALERT: {"for": "5 minutes"}}, "does not match pattern"),
        ({ALERT: {"for": '5m", "x": "'}}, "does not match pattern"),
        ({ALERT: {"waiting": "many"}}, "got string, want number"),
        ({ALERT: {"waiting": -1}}, "minimum"),
        ({ALERT: None}, f"missing property '{ALERT}'"),
    ],
    ids=str,
)
def test_a_wrong_value_of_an_alert_is_refused(alerts: dict[str, Any], error: str) -> None:
    with pytest.raises(Refused, match=re.escape(error)):
        rules_object(alerts=alerts)
