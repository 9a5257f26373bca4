"""What the chart gets: files with rules, and the alerts' values with their schemas, written into values.yaml."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from textwrap import fill
from typing import Any

from slipway_monitoring.rendering import alert_rules, default_values, recording_groups, to_yaml
from slipway_monitoring.rule import SEVERITIES, Alert, Group, Parameter

BEGIN = "      # The alerts, written by `make generate` from monitoring/: until the next line like this.\n"
NOTE = "# Written by `make generate` from monitoring/slipway_monitoring: change that, not this file.\n"
DURATION = "^([0-9]+(ms|[smhdwy]))+$"
"""A duration as Prometheus reads it."""


class Unmarked(Exception):  # noqa: N818 - it is an answer
    """One sentence that names the file and the remedy."""


def files(groups: Iterable[Group], alerts: Iterable[Alert]) -> dict[str, str]:
    """The chart's files below `monitoring/`, which its templates read."""
    return {
        "recording-rules.yaml": NOTE + to_yaml(recording_groups(groups)),
        "alerts.yaml": NOTE + to_yaml({alert.name: alert_rules(alert) for alert in alerts}),
    }


def with_alerts(values: str, alerts: Iterable[Alert]) -> str:
    """The text of values.yaml with the values of these alerts between its two marks."""
    parts = values.split(BEGIN)
    if len(parts) != 3:
        raise Unmarked(f"charts/slipway/values.yaml must have this line twice, around the alerts: {BEGIN.strip()}")
    before, _, after = parts
    return before + BEGIN + "\n" + "".join(map(_value, alerts)) + "\n" + BEGIN + after


def _value(alert: Alert) -> str:
    told = " ".join([alert.meaning, *(f"`{each.name}`: {each.meaning}" for each in alert.parameters)])
    text = fill(told, 112, initial_indent="      # ", subsequent_indent="      # ", break_on_hyphens=False)
    return f"{text}\n      # +schema: {json.dumps(schema(alert))}\n      {alert.name}: {_flow(default_values(alert))}\n"


def schema(alert: Alert) -> dict[str, Any]:
    properties = {"enabled": {"type": "boolean"}, **{each.name: _type(each) for each in alert.values}}
    return {"additionalProperties": False, "required": [*properties], "properties": properties}


def _type(parameter: Parameter) -> dict[str, Any]:
    if not isinstance(parameter.default, str):
        return {"type": "number", "minimum": 0, **({} if parameter.most is None else {"maximum": parameter.most})}
    if parameter.default in SEVERITIES:
        return {"enum": [*SEVERITIES]}
    return {"type": "string", "pattern": DURATION}


def _flow(values: dict[str, Any]) -> str:
    return "{" + ", ".join(f"{name}: {json.dumps(value)}" for name, value in values.items()) + "}"


def write(chart: Path, groups: Iterable[Group], alerts: Iterable[Alert]) -> None:
    folder = chart / "monitoring"
    folder.mkdir(exist_ok=True)
    for name, text in files(groups, alerts).items():
        (folder / name).write_text(text)
    values = chart / "values.yaml"
    values.write_text(with_alerts(values.read_text(), alerts))
