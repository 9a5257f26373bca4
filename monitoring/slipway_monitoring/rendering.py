"""Rules as Prometheus reads them: groups of YAML. Alerts keep their placeholders until `filled` puts values in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from slipway_monitoring.rule import INTERVAL, Alert, Condition, Group, Recording

Rule = dict[str, Any]
RUNBOOKS = "https://slipway.dev/docs/runbooks/{name}.html"
"""The default of the chart's `runbooks.url`."""

ALERT_GROUP = "slipway.alerts"


def recording_groups(groups: Iterable[Group]) -> list[Rule]:
    return [
        group(each.name, [_recording(recording) for recording in each.recordings], each.interval) for each in groups
    ]


def group(name: str, rules: list[Rule], interval: int = INTERVAL) -> Rule:
    return {"name": name, "interval": f"{interval}s", "rules": rules}


def alert_rules(alert: Alert) -> list[Rule]:
    """The rules of one alert, with placeholders."""
    return [_alerting(alert, condition) for condition in alert.conditions]


def default_values(alert: Alert) -> dict[str, Any]:
    """Its values in the chart."""
    return {"enabled": True, **{each.name: each.default for each in alert.values}}


def filled(rules: list[Rule], values: Mapping[str, Any]) -> list[Rule]:
    """Puts values in, as the chart's template does."""
    text = json.dumps(rules)
    for name, value in values.items():
        text = text.replace(f"${{{name}}}", value if isinstance(value, str) else json.dumps(value))
    found: list[Rule] = json.loads(text)
    return found


def with_runbook(rule: Rule) -> Rule:
    """With the link that the chart's template adds, unless `runbooks.url` is empty."""
    url = RUNBOOKS.replace("{name}", rule["alert"])
    return {**rule, "annotations": {**rule["annotations"], "runbook_url": url}}


def default_rules(groups: Iterable[Group], alerts: Iterable[Alert]) -> dict[str, Any]:
    """Everything that the chart renders by default, as the content of a file of rules."""
    in_order = sorted(alerts, key=lambda alert: alert.name)  # as helm iterates
    rules = [with_runbook(rule) for alert in in_order for rule in filled(alert_rules(alert), default_values(alert))]
    return {"groups": [*recording_groups(groups), group(ALERT_GROUP, rules)]}


def to_yaml(value: Any) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True)


def _recording(recording: Recording) -> Rule:
    told = {"labels": dict(recording.labels)} if recording.labels else {}
    return {"record": recording.name, "expr": recording.expression, **told}


def _alerting(alert: Alert, condition: Condition) -> Rule:
    return {
        "alert": alert.name,
        "expr": condition.expression,
        "for": f"${{{condition.lasting}}}",
        "labels": {"severity": f"${{{condition.severity}}}", **condition.labels},
        "annotations": {"summary": alert.summary, "description": alert.description},
    }


class _Dumper(yaml.SafeDumper):
    """Writes strings of several lines as blocks, as a person would."""


def _string(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _string)
