"""What a dashboard is made of: rows of panels, each with its queries. Plain data, which is built for Grafana, run
against a real Prometheus by the tests, and drawn for the documentation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from slipway_monitoring import promql

Kind = Literal["timeseries", "stat", "table"]
Unit = Literal["short", "s", "h", "percentunit", "reqps", "ops", "bytes", "suffix: tokens/s", "dateTimeFromNow"]
"""As Grafana calls them. Money is "short": the profiles' prices don't say their currency."""


def in_words(unit: str) -> str:
    words = {
        "short": "number",
        "s": "seconds",
        "h": "hours",
        "percentunit": "share, 1 is 100 %",
        "reqps": "requests per second",
        "ops": "per second",
        "bytes": "bytes",
        "dateTimeFromNow": "time",
    }
    return words.get(unit, unit.removeprefix("suffix: "))


@dataclass(frozen=True)
class Query:
    """One query. `legend` names its series, or the column of a table.

    `exemplars`: also asks for single requests with their traces, which recorded series don't have.
    `healthy_empty`: why an installation without a fault has no such series, for queries that show faults.
    """

    expr: str
    legend: str
    unit: Unit | None = None
    healthy_empty: str = ""
    exemplars: bool = False


@dataclass(frozen=True)
class Panel:
    """`description` says what a bad value looks like, and where to look then.

    `target`: the legend of a query that is a limit to stay on one side of; it is drawn as a dashed line.
    `needs`: what must be installed besides Slipway for this panel to have data.
    """

    title: str
    description: str
    unit: Unit
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    width: int = 12
    height: int = 8
    stacked: bool = False
    minimum: float | None = 0
    maximum: float | None = None
    warning: float | None = None
    critical: float | None = None
    target: str = ""
    links_to_model: bool = False
    hidden_columns: tuple[str, ...] = ()
    needs: str = ""


def stat(
    title: str,
    description: str,
    unit: Unit,
    expr: str,
    *,
    width: int = 6,
    warning: float | None = None,
    critical: float | None = None,
) -> Panel:
    """A panel of one number."""
    return Panel(
        title=title,
        description=description,
        unit=unit,
        kind="stat",
        width=width,
        height=4,
        queries=(Query(expr, title),),
        warning=warning,
        critical=critical,
    )


@dataclass(frozen=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Dashboard:
    """`selects`: what its variables choose: namespaces, or one model of one namespace, or nothing."""

    uid: str
    title: str
    description: str
    selects: Literal["namespaces", "model", "nothing"]
    rows: tuple[Row, ...]

    @property
    def panels(self) -> tuple[Panel, ...]:
        return tuple(panel for row in self.rows for panel in row.panels)


# --- selectors of series ----------------------------------------------------------------------------------------------

CLUSTER = 'cluster=~"$cluster"'
NAMESPACES = f'{CLUSTER}, namespace=~"$namespace"'
MODEL = f'{CLUSTER}, namespace="$namespace", llmdeployment="$llmdeployment"'
EACH_MODEL = "{{namespace}}/{{llmdeployment}}"
"""The legend of series that are each a model's."""


def of_programs(metric: str, **labels: str) -> str:
    """Series of Slipway's own programs. A tenant's pod can't expose any without a label `llmdeployment`."""
    return _selected(metric, f'{CLUSTER}, llmdeployment=""', labels)


def anywhere(metric: str, **labels: str) -> str:
    """Series of all models."""
    return _selected(metric, CLUSTER, labels)


def in_namespaces(metric: str, **labels: str) -> str:
    return _selected(metric, NAMESPACES, labels)


def of_model(metric: str, **labels: str) -> str:
    return _selected(metric, MODEL, labels)


def _selected(metric: str, matchers: str, labels: dict[str, str]) -> str:
    """A value that starts with `~` is a regular expression."""
    given = (
        f'{name}=~"{value[1:]}"' if value.startswith("~") else f'{name}="{value}"' for name, value in labels.items()
    )
    return f"{metric}{{{', '.join([matchers, *given])}}}"


def by_model(aggregation: str, expr: str, *more: str) -> str:
    """One series for each model, whichever replica of the operator exposes it."""
    return f"{aggregation} by ({promql.labels(*more)}) ({expr})"


def grown_in_an_hour(counter: str, label: str) -> str:
    """How much a counter grew, by this label. Unlike `increase`, it sees the first event, with which the series
    starts."""
    return f"sum by ({label}) ({promql.growth(in_namespaces(counter), '1h')})"


def number_of_models() -> str:
    return f"count({by_model('max', in_namespaces('slipway_llmdeployment_info'))})"


def or_zero_of_each(expr: str) -> str:
    """Models without a series of their own, because nothing happens to them, are at 0."""
    return f"{expr} or 0 * {by_model('max', in_namespaces('slipway_llmdeployment_info'))}"
