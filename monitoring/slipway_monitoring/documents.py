"""docs/reference/metrics.md and alerts.md: what each recorded name means and which engines it is known of, what each
alert means, and which of our own metrics are used where."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from slipway_monitoring.dashboards.panels import Dashboard
from slipway_monitoring.rendering import alert_rules, default_values
from slipway_monitoring.rule import Alert, Group, Recording
from slipway_monitoring.use import FOR_PEOPLE, OPTIONAL, series_in

ENGINES = {
    "vllm": "vLLM",
    "llamacpp": "llama.cpp",
    "sglang": "SGLang",
    "tgi": "TGI",
    "lmdeploy": "LMDeploy",
    "triton": "Triton",
    "nim": "NIM 1.x",
    "ovms": "OpenVINO",
}
NOT_FIRED = "Not fired by a real cause so far; promtool tests it."
WRITTEN = "<!-- Written by `make generate` from monitoring/slipway_monitoring: change that, not this file. -->\n"
Row = Sequence[str]


def metrics_page(
    groups: Iterable[Group], alerts: Iterable[Alert], dashboards: Iterable[Dashboard], own: Mapping[str, str]
) -> str:
    """`own`: Slipway's own metrics, each with the page that describes it."""
    recordings = [*chain.from_iterable(group.recordings for group in groups)]
    users = [(f"`{name}`", each) for name, each in expressions(recordings, alerts)]
    users += [(f"dashboard {each.title}", query) for each in dashboards for query in queries(each)]
    return _page(
        "Metrics",
        "The recording rules of the chart (`monitoring.rules.enabled`) give the metrics of all engines one set of "
        "names. Their labels are `namespace` and `llmdeployment`, those named here, and `cluster` where Prometheus "
        "adds one.",
        "## Recorded names",
        _table(("name", "unit", "meaning"), _named(recordings)),
        "## Which engine they are known of",
        "What isn't listed is Slipway's own and known of every engine. NIM 2.1 has vLLM's names. What SGLang, TGI, "
        "LMDeploy, Triton, NIM and OpenVINO expose is taken from their documentation, which "
        "[engines.md](../engines.md) names, and was not measured. Triton and OpenVINO have no histograms of times.",
        _table(("name", *ENGINES.values()), _known(recordings)),
        "## Metrics of others",
        "Rules work without them; what is made of them is then missing.",
        _table(("metric", "of"), ((f"`{name}`", told) for name, told in OPTIONAL.items())),
        "## Slipway's own metrics, and what uses them",
        _table(("metric", "described in", "used by"), _uses(users, own)),
    )


def _named(recordings: Iterable[Recording]) -> Iterable[Row]:
    first: dict[str, Recording] = {}
    for each in recordings:
        first.setdefault(each.name, each)
    return ((f"`{each.name}`", each.unit, each.meaning) for each in first.values())


def _known(recordings: Iterable[Recording]) -> Iterable[Row]:
    for each in recordings:
        if each.sources:
            yield f"`{each.name}`", *("✓" if engine in each.sources else "" for engine in ENGINES)


def _uses(users: Iterable[tuple[str, str]], own: Mapping[str, str]) -> Iterable[Row]:
    found: dict[str, dict[str, None]] = {}
    for name, expression in users:
        for series in series_in(expression):
            found.setdefault(series, {})[name] = None
    for metric, page in own.items():
        yield f"`{metric}`", f"[{page}]({page})", ", ".join(found.get(metric, ())) or FOR_PEOPLE.get(metric, "")


def queries(dashboard: Dashboard) -> Iterable[str]:
    return (query.expr for row in dashboard.rows for panel in row.panels for query in panel.queries)


def expressions(recordings: Iterable[Recording], alerts: Iterable[Alert]) -> Iterable[tuple[str, str]]:
    for recording in recordings:
        yield recording.name, recording.expression
    for alert in alerts:
        for condition in alert.conditions:
            yield alert.name, condition.expression


def own_metrics(reference: Path) -> dict[str, str]:
    """The metrics in the generated tables of the programs, each with the file that has it."""
    found: dict[str, str] = {}
    for page in ("operator.md", "activator.md", "runtime.md"):
        for name in re.findall(r"^\| `(slipway_\w+)` \|", (reference / page).read_text(), re.MULTILINE):
            found.setdefault(name, page)
    return found


def alerts_page(alerts: Iterable[Alert], fired: Path) -> str:
    """`fired`: the folder with the proofs of alerts that were fired by their real cause."""
    return _page(
        "Alerts",
        "The chart renders them with `monitoring.rules.enabled`. Each is switched and tuned by its values in "
        "`monitoring.rules.alerts.NAME`: `enabled`, `severity` (`critical`: a person is needed now; `warning`: within "
        "the day; `info`: worth knowing), `for`, and its own. Their labels lead to the LLMDeployment: `namespace` and "
        "`llmdeployment`.",
        *chain.from_iterable(_section(alert, fired / f"{alert.name}.json") for alert in alerts),
    )


def _section(alert: Alert, proof: Path) -> Iterable[str]:
    yield f"## {alert.name}"
    yield f"{alert.meaning} [Runbook](../../runbooks/{alert.name}.md)"
    values, told = default_values(alert), {each.name: each.meaning for each in alert.values}
    yield _table(("value", "default", "meaning"), ((f"`{name}`", f"`{values[name]}`", told[name]) for name in told))
    for rule in alert_rules(alert):
        yield f"```promql\n{rule['expr']}\n```"
    yield _fired(json.loads(proof.read_text()), proof) if proof.exists() else NOT_FIRED


def _fired(told: Mapping[str, Any], proof: Path) -> str:
    seconds = told["seconds"]
    return (
        f"Fired by a real Prometheus on {told['date']}, with shorter times. Cause: {told['cause']} Notified after "
        f"{seconds['from cause to notification']} s. Remedy: {told['remedy']} Resolved after "
        f"{seconds['from remedy to notification']} s. [Proof](../../monitoring/fired/{proof.name})"
    )


def _page(title: str, *parts: str) -> str:
    return WRITTEN + "\n\n".join((f"# {title}", *parts)) + "\n"


def _table(head: Row, rows: Iterable[Row]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
