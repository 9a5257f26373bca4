"""Every panel explains itself: what it shows, in which unit, what a bad value looks like.

That Prometheus can parse the queries is tested in tests/rules; that no panel is empty, with a real Prometheus, in
tests/alerts.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from slipway_monitoring.dashboards import DASHBOARDS
from slipway_monitoring.dashboards.building import as_json
from slipway_monitoring.dashboards.panels import Dashboard, Panel
from slipway_monitoring.vocabulary import GROUPS

PANELS = [(dashboard, panel) for dashboard in DASHBOARDS for panel in dashboard.panels]
RECORDED = {recording.name for group in GROUPS for recording in group.recordings}
ENGINES = re.compile(r"\b(vllm|llamacpp|sglang|tgi|trtllm|nv):|\bDCGM_")
"""Series that are another name in each engine: the recording rules give them one."""

PRICES = "slipway_device_hourly_cost"
"""The only series of a dashboard of namespaces that is of none."""

each_dashboard = pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda each: each.uid)
each_panel = pytest.mark.parametrize(
    ("dashboard", "panel"), PANELS, ids=[f"{dashboard.uid}-{panel.title}" for dashboard, panel in PANELS]
)


def names_in(promql: str) -> set[str]:
    return set(re.findall(r"\bslipway:[\w:]+", promql))


@each_panel
def test_a_panel_says_what_a_bad_value_looks_like_and_where_to_look(dashboard: Dashboard, panel: Panel) -> None:
    assert len(re.findall(r"[.:] ", panel.description + " ")) >= 1
    assert len(panel.description) > 40
    assert panel.description.endswith(".")


@each_panel
def test_every_series_of_a_panel_is_named_in_its_legend(dashboard: Dashboard, panel: Panel) -> None:
    legends = [query.legend for query in panel.queries]
    assert all(legends)
    assert not [legend for legend, times in Counter(legends).items() if times > 1]
    assert not panel.target or panel.target in legends
    assert set(panel.hidden_columns) <= set(legends)


@each_panel
def test_a_panel_shows_only_the_series_that_the_variables_select(dashboard: Dashboard, panel: Panel) -> None:
    selects = {"nothing": ("$cluster",), "namespaces": ("$cluster", "$namespace")}
    variables = selects.get(dashboard.selects, ("$cluster", "$namespace", "$llmdeployment"))
    for query in panel.queries:
        selectors = re.findall(r"\b([a-zA-Z_:][\w:]*)\{([^}]*)\}", query.expr)
        assert selectors
        for name, selector in selectors:
            assert name == PRICES or all(each in selector for each in variables), name


@each_panel
def test_a_panel_uses_recorded_series_instead_of_those_of_one_engine(dashboard: Dashboard, panel: Panel) -> None:
    for query in panel.queries:
        assert not ENGINES.search(query.expr)
        assert names_in(query.expr) <= RECORDED


@each_dashboard
def test_titles_within_a_dashboard_differ(dashboard: Dashboard) -> None:
    titles = [panel.title for panel in dashboard.panels]
    assert sorted(set(titles)) == sorted(titles)


@each_dashboard
def test_rows_fill_the_width_of_the_page(dashboard: Dashboard) -> None:
    for row in dashboard.rows:
        assert sum(panel.width for panel in row.panels) % 24 == 0, row.title


@each_dashboard
def test_the_same_source_gives_the_same_bytes_and_the_chart_has_them(dashboard: Dashboard) -> None:
    assert as_json(dashboard) == as_json(dashboard)
    shipped = Path(__file__).parents[3] / f"charts/slipway/monitoring/dashboards/{dashboard.uid}.json"
    assert shipped.read_text() == as_json(dashboard)


@each_dashboard
def test_grafana_needs_nothing_from_elsewhere(dashboard: Dashboard) -> None:
    text = as_json(dashboard)
    assert "http" not in text.replace("https", "http").replace("HTTP", "")
    built = json.loads(text)
    sources = {json.dumps(source) for source in datasources(built["panels"])}
    assert sources == {json.dumps({"type": "prometheus", "uid": "${datasource}"})}
    ids = [panel["id"] for panel in built["panels"]]
    assert len(set(ids)) == len(ids)


def datasources(panels: list[dict[str, Any]]) -> list[object]:
    shown = [panel for panel in panels if panel["type"] != "row"]
    return [each["datasource"] for panel in shown for each in [panel, *panel["targets"]]]


def test_panels_that_need_another_product_say_so() -> None:
    needing = {name for _, panel in PANELS if panel.needs for query in panel.queries for name in names_in(query.expr)}
    assert needing == {"slipway:gpu_memory_used:bytes", "slipway:gpu_utilization:ratio"}
