"""What is written for Prometheus besides rules is valid: the queries of panels, and the configuration that the
documentation shows."""

from __future__ import annotations

import json
from pathlib import Path

from slipway_monitoring.dashboards import DASHBOARDS
from slipway_monitoring.dashboards.filling import filled
from support.monitoring.documented import scrape_jobs
from support.monitoring.promtool import check, check_configuration


def test_prometheus_can_parse_every_query_of_a_panel(tmp_path: Path) -> None:
    queries = [each for dashboard in DASHBOARDS for each in filled(dashboard, namespace="a", llmdeployment="b")]
    assert queries
    assert not [each.place for each in queries if "$" in each.promql]
    rules = [{"record": f"panel:number{number}", "expr": each.promql} for number, each in enumerate(queries)]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))  # JSON is YAML
    assert check(file) == ""


def test_prometheus_accepts_the_scrape_configuration_of_the_documentation(tmp_path: Path) -> None:
    file = tmp_path / "prometheus.yml"
    file.write_text(json.dumps({"scrape_configs": scrape_jobs(tmp_path)}))
    assert check_configuration(file) == ""
