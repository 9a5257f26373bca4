"""docs/monitoring.md: what it shows works, and the panels that it names exist."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from slipway_devcluster.paths import default_cache
from slipway_devcluster.progress import Steps
from slipway_monitoring.dashboards import DASHBOARDS
from support.monitoring import programs
from support.monitoring.documented import scrape_jobs

PAGE = (Path(__file__).parents[3] / "docs/monitoring.md").read_text()


def test_prometheus_accepts_the_scrape_configuration(tmp_path: Path) -> None:
    file = tmp_path / "prometheus.yml"
    file.write_text(json.dumps({"scrape_configs": scrape_jobs(tmp_path)}))  # JSON is YAML
    cache = default_cache()
    promtool = programs.ensure(cache, Steps(cache)).promtool
    checked = subprocess.run([promtool, "check", "config", file], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_the_way_from_a_symptom_names_panels_that_exist() -> None:
    section = PAGE.split("## From a symptom to its cause")[1].split("\n## ")[0]
    named = set(re.findall(r"\*\*([^*]+)\*\*", section))
    assert len(named) > 8
    assert named <= {panel.title for dashboard in DASHBOARDS for panel in dashboard.panels}


def test_every_dashboard_is_introduced() -> None:
    assert [dashboard.title for dashboard in DASHBOARDS if dashboard.title not in PAGE] == []
