"""Dashboards as ConfigMaps: for the sidecar of Grafana's chart, and only where they are wanted."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml
from slipway_monitoring.dashboards import DASHBOARDS
from slipway_monitoring.dashboards.building import as_json
from support.builders.objects import Object
from support.charts.helm import rendered
from support.charts.values import defaults
from support.monitoring.documented import PAGE

LARGEST = 1 << 20
"""Bytes that a ConfigMap may have."""


def config_maps(*, runbooks: str | None = None, **dashboards: Any) -> list[Object]:
    url = {} if runbooks is None else {"runbooks": {"url": runbooks}}
    things = rendered("slipway", {"monitoring": {"dashboards": {"enabled": True} | dashboards}, **url})
    return [thing for thing in things if thing["metadata"]["name"].endswith("-dashboard")]


def test_there_are_no_dashboards_by_default() -> None:
    assert defaults("slipway")["monitoring"]["dashboards"]["enabled"] is False
    assert not [thing for thing in rendered("slipway") if thing["metadata"]["name"].endswith("-dashboard")]


def test_each_dashboard_is_a_config_map_with_the_unchanged_json_if_nothing_links_to_runbooks() -> None:
    found = {thing["metadata"]["name"]: thing["data"] for thing in config_maps(runbooks="")}
    assert found == {f"{each.uid}-dashboard": {f"{each.uid}.json": as_json(each)} for each in DASHBOARDS}


def test_each_fits_into_a_config_map_several_times() -> None:
    assert all(len(json.dumps(thing)) < LARGEST / 4 for thing in config_maps())


def test_grafanas_sidecar_finds_them_by_default_and_puts_them_into_a_folder() -> None:
    for thing in config_maps():
        assert thing["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert thing["metadata"]["annotations"]["grafana_folder"] == "Slipway"


def test_labels_folder_and_annotations_can_be_chosen() -> None:
    [first, *_] = config_maps(
        labels={"dashboards": "yes"},
        annotations={"k8s-sidecar-target-directory": "/x"},
        folder="",
    )
    assert first["metadata"]["labels"].items() >= {"dashboards": "yes", "grafana_dashboard": "1"}.items()
    assert first["metadata"]["annotations"] == {"k8s-sidecar-target-directory": "/x"}


def test_the_values_of_the_documentation_switch_everything_on() -> None:
    [shown] = re.findall(r"```yaml\n# values-monitoring\.yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names = {(thing["kind"], thing["metadata"]["name"]) for thing in rendered("slipway", yaml.safe_load(shown))}
    assert {("PodMonitor", "slipway"), ("ConfigMap", "slipway-fleet-dashboard")} <= names
    assert "PrometheusRule" in {kind for kind, _ in names}
