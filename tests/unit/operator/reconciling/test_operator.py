"""The operator's process as a whole: the order in which its parts start, and its metrics."""

from __future__ import annotations

import gc
import re
from pathlib import Path
from typing import Any

import pytest
from kubernetes.aio.client import Configuration
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from slipway.objects.kinds import LLM_DEPLOYMENT, Object
from slipway.operator.reconciling.flags import OperatorSettings
from slipway.operator.reconciling.main import main as program
from slipway.operator.reconciling.operator import Operator
from support.builders.stored import llm


async def test_no_model_is_reconciled_before_everything_is_read_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what has been read then is never walked through by a garbage collection: it would take the longest step of
    the event loop."""
    settings = OperatorSettings(**program.make_context(program.name, []).params)
    operator: Any = Operator(settings, Configuration(host="http://127.0.0.1:1"))
    done: list[str] = []

    def noted(name: str) -> Any:
        async def note() -> None:
            done.append(name)

        return note

    monkeypatch.setattr(operator._watching, "until_filled", noted("objects"))
    monkeypatch.setattr(operator._site_models, "until_read", noted("a site's models"))
    monkeypatch.setattr(operator._supply, "settle", noted("nodes"))
    monkeypatch.setattr(operator._queue, "run", noted("queue"))
    monkeypatch.setattr(gc, "freeze", lambda: done.append("freeze"))
    await operator._work()
    await operator._connection.close()
    assert done == ["objects", "a site's models", "nodes", "freeze", "queue"]


# --- its metrics -----------------------------------------------------------------------------------------------------

REFERENCE = Path(__file__).parents[4] / "docs/reference/operator.md"
ROW = re.compile(r"^\| `(slipway_\w+)` \| (\w+) \| ([^|]*) \|", re.MULTILINE)


def documented() -> dict[str, tuple[str, frozenset[str]]]:
    """Of each metric, its kind and its labels."""
    rows = ROW.findall(REFERENCE.read_text())
    return {name: (kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


async def page_of(*, leads: bool) -> dict[str, Metric]:
    """What a real operator exposes of one LLMDeployment, by the names of the metrics."""
    settings = OperatorSettings(**program.make_context(program.name, []).params)
    operator: Any = Operator(settings, Configuration(host="http://127.0.0.1:1"))
    try:
        operator._watching.store.take(LLM_DEPLOYMENT, "ADDED", an_llm_deployment(), now=0)
        if leads:
            operator._election._write_until = float("inf")
        page = operator._metrics.registry.page().decode()
    finally:
        await operator._connection.close()
    exposed = dict(re.findall(r"^# TYPE (\S+) (\w+)", page, re.MULTILINE))
    families = {each.name: each for each in text_string_to_metric_families(page)}
    names = {name: name.removesuffix("_total") if kind == "counter" else name for name, kind in exposed.items()}
    return {name: families[short] for name, short in names.items() if not name.endswith("_created")}


def an_llm_deployment() -> Object:
    scaled = {"type": "Scaled", "status": "False", "reason": "ScalerUnavailable"}
    status = {
        "state": "Degraded",
        "conditions": [scaled],
        "plan": {"accelerator": "l4", "gpusPerReplica": 1, "maxConcurrency": 8, "expected": {"tokensPerSecond": 90}},
        "measured": {"planErrorPercent": 12.5},
        "lastColdStart": {"ready": "30s", "pod": "llama-predictor-1"},
    }
    slo = {"ttftP95": "500ms", "availability": "99.9%"}
    put = {**llm(slo=slo), "status": status}
    return {**put, "metadata": {**put["metadata"], "uid": "1", "resourceVersion": "1"}}


async def test_the_documentation_names_each_metric_of_the_program_with_its_kind_and_labels_and_no_other() -> None:
    exposed = await page_of(leads=True)
    assert exposed.keys() == documented().keys()
    for name, family in exposed.items():
        kind, labels = documented()[name]
        assert family.type == kind, name
        assert {label for each in family.samples for label in each.labels} - {"le"} <= labels, name


async def test_the_leader_shows_what_the_caches_have_before_it_has_reconciled_anything() -> None:
    exposed = await page_of(leads=True)
    [problem] = exposed["slipway_llmdeployment_condition"].samples
    assert problem.labels == {
        "namespace": "chat",
        "llmdeployment": "llama",
        "type": "Scaled",
        "reason": "ScalerUnavailable",
    }
    assert exposed["slipway_leader"].samples[0].value == 1
    assert exposed["slipway_unfilled_caches"].samples[0].value > 0


async def test_a_standby_shows_that_it_does_not_lead_and_nothing_of_any_llm_deployment() -> None:
    exposed = await page_of(leads=False)
    assert exposed["slipway_leader"].samples[0].value == 0
    samples = [each for family in exposed.values() for each in family.samples]
    assert not [each for each in samples if "llmdeployment" in each.labels]
