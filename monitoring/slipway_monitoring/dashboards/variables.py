"""The variables above a dashboard. "All" of `cluster` matches series without such a label, too: one Prometheus may have
one cluster or several."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import dashboard as models

INFO = "slipway_llmdeployment_info"
ANY = models.VariableOption(text="All", value="$__all")
SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")

Variable = dashboard.DatasourceVariable | dashboard.QueryVariable


def variables(selects: Literal["namespaces", "model", "nothing"]) -> Iterator[Variable]:
    yield dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
    yield _of_labels("cluster", "Cluster", "up" if selects == "nothing" else INFO, has_all=True)
    match selects:
        case "namespaces":
            yield _of_labels("namespace", "Namespace", f'{INFO}{{cluster=~"$cluster"}}', has_all=True)
        case "model":
            yield _of_labels("namespace", "Namespace", f'{INFO}{{cluster=~"$cluster"}}', has_all=False)
            within = f'{INFO}{{cluster=~"$cluster", namespace="$namespace"}}'
            yield _of_labels("llmdeployment", "Model", within, has_all=False)


def _of_labels(name: str, label: str, series: str, *, has_all: bool) -> dashboard.QueryVariable:
    """Offers the values of the label `name` of these series."""
    variable = dashboard.QueryVariable(name).label(label).query(f"label_values({series}, {name})").datasource(SOURCE)
    variable.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(models.VariableSort.ALPHABETICAL_ASC)
    if has_all:
        variable.include_all(True).multi(True).all_value(".*").current(ANY)
    return variable
