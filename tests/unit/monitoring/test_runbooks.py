"""The metrics, labels and fields that the runbooks of alerts name exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from slipway_monitoring.documents import own_metrics
from slipway_monitoring.vocabulary import GROUPS

ROOT = Path(__file__).parents[3]
RUNBOOKS = sorted((ROOT / "runbooks").glob("Slipway*.md"))
RECORDED = {recording.name for group in GROUPS for recording in group.recordings}
CRD = yaml.safe_load((ROOT / "crds/slipway.dev_llmdeployments.yaml").read_text())

OTHER_KINDS = re.compile(r"(\$ )?kubectl get (?!llm\b)|  -o jsonpath=")
"""Commands about pods, Leases and others, which have fields of their own."""

each_runbook = pytest.mark.parametrize("runbook", RUNBOOKS, ids=lambda runbook: runbook.stem)


def is_histogram(name: str, page: str) -> bool:
    return f"| `{name}` | histogram |" in (ROOT / "docs/reference" / page).read_text()


@each_runbook
def test_the_metrics_that_it_names_exist(runbook: Path) -> None:
    text = runbook.read_text()
    own = own_metrics(ROOT / "docs/reference").items()
    known = RECORDED | {name for name, _ in own} | {f"{name}_bucket" for name, page in own if is_histogram(name, page)}
    assert not set(re.findall(r"\bslipway(?::[\w:]*\w|_[a-z_]+)\b", text)) - known


@each_runbook
def test_the_labels_that_it_names_are_on_the_alert(runbook: Path) -> None:
    tested = yaml.safe_load((ROOT / f"monitoring/tests/{runbook.stem}.yaml").read_text())["tests"]
    fired = [alert for test in tested for check in test["alert_rule_test"] for alert in check["exp_alerts"]]
    named = set(re.findall(r"\blabel `(\w+)`", runbook.read_text()))
    assert named <= {label for alert in fired for label in alert["exp_labels"]}


def exists(schema: Any, path: list[str]) -> bool:
    for name in path:
        schema = schema.get("items", schema).get("properties", {}).get(name)
        if schema is None:
            return False
    return True


@each_runbook
def test_the_fields_of_the_spec_that_it_names_exist(runbook: Path) -> None:
    schema = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    text = "\n".join(line for line in runbook.read_text().splitlines() if not OTHER_KINDS.match(line))
    named = re.findall(r"[`.{]((?:spec|status)(?:\.[a-zA-Z0-9]+)+)", text)
    assert not [path for path in named if path != "spec.podMonitorSelector" and not exists(schema, path.split("."))]
