"""docs/reference/dashboards.md: each panel with its queries, for readers without Grafana."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from slipway_monitoring.dashboards.panels import Dashboard, Panel, in_words

HEAD = """# Dashboards

<!-- Written by `make generate`; change what it describes instead. -->

Every panel, what a bad value looks like, and its queries. `$cluster`, `$namespace` and `$llmdeployment` are what is
chosen above a dashboard: put your own names there, and the query works in Prometheus' own page, too. `.*` chooses all.
"""


def page(dashboards: Iterable[Dashboard]) -> str:
    return "\n".join([HEAD, *(line for dashboard in dashboards for line in _dashboard(dashboard))])


def _dashboard(dashboard: Dashboard) -> Iterator[str]:
    yield f"## {dashboard.title}\n\n{dashboard.description}\n"
    for row in dashboard.rows:
        yield f"### {row.title}\n"
        for panel in row.panels:
            yield from _panel(panel)


def _panel(panel: Panel) -> Iterator[str]:
    needs = f" It needs {panel.needs}." if panel.needs else ""
    yield f"**{panel.title}** ({in_words(panel.unit)}). {panel.description}{needs}\n"
    yield "```promql"
    for query in panel.queries:
        yield f"# {query.legend}\n{query.expr}"
    yield "```\n"
