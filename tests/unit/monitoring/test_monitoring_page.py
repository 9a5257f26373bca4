"""docs/monitoring.md: the panels and dashboards that it names exist. tests/rules checks the configuration it shows."""

from __future__ import annotations

import re
from pathlib import Path

from slipway_monitoring.dashboards import DASHBOARDS

PAGE = (Path(__file__).parents[3] / "docs/monitoring.md").read_text()


def test_the_way_from_a_symptom_names_panels_that_exist() -> None:
    section = PAGE.split("## From a symptom to its cause")[1].split("\n## ")[0]
    named = set(re.findall(r"\*\*([^*]+)\*\*", section))
    assert len(named) > 8
    assert named <= {panel.title for dashboard in DASHBOARDS for panel in dashboard.panels}


def test_every_dashboard_is_introduced() -> None:
    assert [dashboard.title for dashboard in DASHBOARDS if dashboard.title not in PAGE] == []
