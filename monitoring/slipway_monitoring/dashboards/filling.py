"""Queries as Prometheus gets them: Grafana fills in the variables, and this does the same for tests and pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from slipway_monitoring.dashboards.panels import Dashboard, Panel, Query


@dataclass(frozen=True)
class Filled:
    """One query of one panel, with values instead of variables."""

    dashboard: Dashboard
    panel: Panel
    query: Query
    promql: str

    @property
    def place(self) -> str:
        return f"{self.dashboard.title} / {self.panel.title} / {self.query.legend}"


def filled(
    dashboard: Dashboard, *, namespace: str, llmdeployment: str = "", cluster: str = ".*", range_: str = "1h"
) -> Iterator[Filled]:
    """Yields all queries of a dashboard as for these choices of a user."""
    values = {
        "$cluster": cluster,
        "$namespace": namespace,
        "$llmdeployment": llmdeployment,
        "$__range": range_,
    }
    for panel in dashboard.panels:
        for query in panel.queries:
            promql = query.expr
            for name, value in values.items():
                promql = promql.replace(name, value)
            yield Filled(dashboard, panel, query, promql)
