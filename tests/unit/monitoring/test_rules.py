"""Rules name only series that exist, each metric of ours has a use, and alerts have the form that the chart needs."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path

import pytest
from slipway_monitoring import chart
from slipway_monitoring.alerts import ALERTS
from slipway_monitoring.dashboards import DASHBOARDS
from slipway_monitoring.documents import expressions, own_metrics, queries
from slipway_monitoring.rendering import alert_rules, default_rules, default_values, filled
from slipway_monitoring.rule import SEVERITIES, Alert, Recording
from slipway_monitoring.use import FOR_PEOPLE, OPTIONAL, names_in, series_in
from slipway_monitoring.vocabulary import GROUPS
from slipway_monitoring.vocabulary.requests import AS_CONFIGURED, FAULTS_OF_CLIENTS

ROOT = Path(__file__).parents[3]
EXPOSITIONS = ROOT / "monitoring/expositions"
RECORDINGS: list[Recording] = [*chain.from_iterable(group.recordings for group in GROUPS)]
RECORDED = {recording.name for recording in RECORDINGS}
OWN = own_metrics(ROOT / "docs/reference")
BUILT_IN = {"vllm": "vllm:", "llamacpp": "llamacpp:"}
PANELS = [query for each in DASHBOARDS for query in queries(each)]
RULES = [*expressions(RECORDINGS, ALERTS)]

each_rule = pytest.mark.parametrize(("name", "expression"), RULES, ids=[name for name, _ in RULES])


# --- drift, in both directions ----------------------------------------------------------------------------------------


def exposed(engine: str) -> set[str]:
    """Names of samples in the pages that were recorded from this engine."""
    pages = [file.read_text() for file in EXPOSITIONS.glob(f"{engine}-*.txt")]
    assert pages, engine
    return set(re.findall(r"^([a-zA-Z_:][\w:]*)", "\n".join(pages), re.MULTILINE))


def of_makers(name: str) -> bool:
    """A series of an engine in its makers' image, of which only the documentation is known."""
    sources = {each for recording in RECORDINGS for engine, each in recording.sources.items() if engine not in BUILT_IN}
    stems = {names.pop() for names in map(names_in, sources)} | {"nv_inference_request_failure"}
    return any(name in (stem, f"{stem}_bucket") for stem in stems)


@each_rule
def test_every_series_of_a_rule_is_recorded_exposed_or_documented(name: str, expression: str) -> None:
    built_in = exposed("vllm") | exposed("llamacpp")
    for each in names_in(expression):
        is_own = series_in(each) <= OWN.keys() or each in RECORDED
        assert is_own or each in built_in or each in OPTIONAL or of_makers(each), f"{name} uses {each}"


@pytest.mark.parametrize(("engine", "prefix"), BUILT_IN.items())
def test_what_rules_read_of_an_engine_of_ours_is_on_its_page(engine: str, prefix: str) -> None:
    named = {each for _, expression in RULES for each in names_in(expression) if each.startswith(prefix)}
    assert named
    assert not named - exposed(engine)


def test_every_metric_of_ours_has_a_rule_a_panel_or_a_reason_to_have_none() -> None:
    used = set(chain.from_iterable(series_in(expression) for expression in [*PANELS, *(each for _, each in RULES)]))
    assert not OWN.keys() - used - FOR_PEOPLE.keys()
    assert not FOR_PEOPLE.keys() - OWN.keys()
    assert not FOR_PEOPLE.keys() & used


def test_a_rule_uses_only_what_was_recorded_before_it() -> None:
    recorded: set[str] = set()
    for recording in RECORDINGS:
        used = {each for each in names_in(recording.expression) if each.startswith("slipway:")}
        assert used <= recorded, recording.name
        recorded.add(recording.name)


def test_every_reason_of_the_activator_that_is_excluded_is_one_that_it_gives() -> None:
    source = "".join(file.read_text() for file in (ROOT / "operator/slipway").rglob("*.py"))
    assert not [each for each in (*FAULTS_OF_CLIENTS, *AS_CONFIGURED) if f'"{each}"' not in source]


# --- form -------------------------------------------------------------------------------------------------------------


def test_alerts_have_different_names_and_known_severities() -> None:
    assert len({alert.name for alert in ALERTS}) == len(ALERTS)
    assert {alert.severity for alert in ALERTS} <= {*SEVERITIES}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_every_value_of_an_alert_has_its_place_and_every_place_its_value(alert: Alert) -> None:
    text = str(alert_rules(alert))
    places = set(re.findall(r"\$\{(\w+)\}", text))
    assert places == {parameter.name for parameter in alert.values}
    assert "${" not in str(filled(alert_rules(alert), default_values(alert)))


def test_preemptions_are_more_severe_than_a_backlog() -> None:
    severity = {alert.name: SEVERITIES.index(alert.severity) for alert in ALERTS}
    assert severity["SlipwayPreempting"] < severity["SlipwayBatchSaturated"]


def test_a_values_file_without_marks_is_refused_with_the_remedy() -> None:
    with pytest.raises(chart.Unmarked, match=r"values.yaml must have this line twice"):
        chart.with_alerts("monitoring: {}\n", ALERTS)


def test_writing_the_values_again_changes_nothing() -> None:
    values = (ROOT / "charts/slipway/values.yaml").read_text()
    assert chart.with_alerts(values, ALERTS) == values


def test_groups_have_names_of_their_own() -> None:
    names = [group["name"] for group in default_rules(GROUPS, ALERTS)["groups"]]
    assert len(set(names)) == len(names)
