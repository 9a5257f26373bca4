"""Writes recording rules, alerts and what describes them: the chart's files, monitoring/rules.yaml, docs/reference."""

from __future__ import annotations

from pathlib import Path

from slipway_monitoring import chart, documents
from slipway_monitoring.alerts import ALERTS
from slipway_monitoring.dashboards import DASHBOARDS, building, reference
from slipway_monitoring.rendering import default_rules, to_yaml
from slipway_monitoring.vocabulary import GROUPS

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "docs/reference"


def main() -> None:
    chart.write(ROOT / "charts/slipway", GROUPS, ALERTS)
    rules = default_rules(GROUPS, ALERTS)
    (ROOT / "monitoring/rules.yaml").write_text(chart.NOTE + "# With the default values.\n" + to_yaml(rules))
    own = documents.own_metrics(REFERENCE)
    (REFERENCE / "metrics.md").write_text(documents.metrics_page(GROUPS, ALERTS, DASHBOARDS, own))
    (REFERENCE / "alerts.md").write_text(documents.alerts_page(ALERTS, ROOT / "monitoring/fired"))
    for dashboard in DASHBOARDS:
        (ROOT / f"charts/slipway/monitoring/dashboards/{dashboard.uid}.json").write_text(building.as_json(dashboard))
    (REFERENCE / "dashboards.md").write_text(reference.page(DASHBOARDS))


if __name__ == "__main__":
    main()
