"""Grafana's JSON of a dashboard, by its foundation SDK. The same source always gives the same bytes: ids are counted,
and nothing depends on the time."""

from __future__ import annotations

import json
from collections.abc import Iterator

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from slipway_monitoring.dashboards.panels import Dashboard, Panel, Query
from slipway_monitoring.dashboards.variables import variables

SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
TAG = "slipway"
TO_MODEL = (
    "/d/slipway-deployment?var-datasource=${datasource}&var-cluster=${cluster}"
    "&var-namespace=${__data.fields.namespace}&var-llmdeployment=${__data.fields.llmdeployment}"
)
NOT_SHOWN = ("Time", "__name__")
"""Columns of a table that say nothing to a reader."""

DASHED = models.DynamicConfigValue(id_val="custom.lineStyle", value={"fill": "dash", "dash": [10, 10]})
NOT_STACKED = models.DynamicConfigValue(id_val="custom.stacking", value={"mode": "none"})

AnyPanel = timeseries.Panel | stat.Panel | table.Panel


def as_json(which: Dashboard) -> str:
    built = dashboard.Dashboard(which.title)
    built.uid(which.uid).description(which.description).tags([TAG]).timezone("browser").readonly()
    built.time("now-24h" if which.uid == "slipway-cost" else "now-1h", "now").refresh("30s")
    built.tooltip(models.DashboardCursorSync.CROSSHAIR)
    built.link(
        dashboard.DashboardLink("Slipway")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
    )
    for variable in variables(which.selects):
        built.with_variable(variable)
    ids = iter(range(1, 1000))
    for row in which.rows:
        built.with_row(dashboard.Row(row.title).id(next(ids)))
        for panel in row.panels:
            built.with_panel(_panel(panel).id(next(ids)))
    return json.dumps(built.build(), cls=JSONEncoder, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _panel(panel: Panel) -> AnyPanel:
    built = _of_kind(panel)
    built.title(panel.title).description(panel.description).datasource(SOURCE).unit(panel.unit)
    built.height(panel.height).span(panel.width)
    built.thresholds(dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(list(_steps(panel))))
    if text := _when_empty(panel):
        built.no_value(text)
    for name, query in zip("ABCDEFGHIJ", panel.queries, strict=False):
        built.with_target(_target(query, panel, name))
    return built


def _of_kind(panel: Panel) -> AnyPanel:
    match panel.kind:
        case "timeseries":
            return _timeseries(panel)
        case "stat":
            return _stat(panel)
        case "table":
            return _table(panel)


def _target(query: Query, panel: Panel, name: str) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(name)
    target.datasource(SOURCE)
    if panel.kind == "timeseries":
        return target.range().exemplar(query.exemplars)
    target.instant()
    return target.format(PromQueryFormat.TABLE) if panel.kind == "table" else target


def _timeseries(panel: Panel) -> timeseries.Panel:
    built = timeseries.Panel().fill_opacity(20 if panel.stacked else 0).line_width(1)
    built.show_points(options.VisibilityMode.NEVER)
    built.legend(
        common.VizLegendOptions()
        .show_legend(True)
        .placement(options.LegendPlacement.BOTTOM)
        .display_mode(options.LegendDisplayMode.LIST)
    )
    built.tooltip(common.VizTooltipOptions().mode(options.TooltipDisplayMode.MULTI).sort(options.SortOrder.DESCENDING))
    if panel.stacked:
        built.stacking(common.StackingConfig().mode(options.StackingMode.NORMAL))
    if panel.minimum is not None:
        built.min(panel.minimum)
    if panel.maximum is not None:
        built.max(panel.maximum)
    if panel.warning is not None:
        built.thresholds_style(common.GraphThresholdsStyleConfig().mode(options.GraphTresholdsStyleMode.DASHED))
    if panel.target:
        built.override_by_name(panel.target, [DASHED, NOT_STACKED])
    return built


def _stat(panel: Panel) -> stat.Panel:
    names = any("{{" in query.legend for query in panel.queries)
    built = stat.Panel().graph_mode(options.BigValueGraphMode.NONE)
    built.color_mode(options.BigValueColorMode.VALUE)
    built.text_mode(options.BigValueTextMode.NAME if names else options.BigValueTextMode.VALUE)
    return built.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))


def _table(panel: Panel) -> table.Panel:
    """One row for each set of labels: the queries' results are merged by the labels that they share."""
    letters = dict(zip("ABCDEFGHIJ", panel.queries, strict=False))
    single = len(panel.queries) == 1
    renamed = {"Value" if single else f"Value #{letter}": query.legend for letter, query in letters.items()}
    hidden = {*NOT_SHOWN, *(old for old, new in renamed.items() if new in panel.hidden_columns)}
    built = table.Panel().show_header(True)
    built.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    organize = {"excludeByName": dict.fromkeys(sorted(hidden), True), "indexByName": {}, "renameByName": renamed}
    built.with_transformation(models.DataTransformerConfig(id_val="organize", options=organize))
    for query in panel.queries:
        if query.unit:
            built.override_by_name(query.legend, [models.DynamicConfigValue(id_val="unit", value=query.unit)])
    if panel.links_to_model:
        link = {"title": "Open the model's dashboard", "url": TO_MODEL}
        built.override_by_name("llmdeployment", [models.DynamicConfigValue(id_val="links", value=[link])])
    return built


def _steps(panel: Panel) -> Iterator[models.Threshold]:
    yield models.Threshold(value=None, color="green")
    if panel.warning is not None:
        yield models.Threshold(value=panel.warning, color="orange")
    if panel.critical is not None:
        yield models.Threshold(value=panel.critical, color="red")


def _when_empty(panel: Panel) -> str:
    if panel.needs:
        return f"needs {panel.needs}"
    return next((query.healthy_empty for query in panel.queries if query.healthy_empty), "")
