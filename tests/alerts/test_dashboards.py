"""No panel and no recording rule is empty: each query is run against a real Prometheus that has watched a real load of
llama.cpp, and a model that can't start. tests/vllm_cpu/test_panels.py does the same for vLLM. Operator and activator
expose each metric that their documentation names, and no other."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from slipway_devcluster import model
from slipway_devcluster.cluster import Cluster
from slipway_monitoring.dashboards import DASHBOARDS
from slipway_monitoring.dashboards.filling import Filled, filled
from slipway_monitoring.vocabulary import GROUPS
from support.builders.llmdeployments import GEMMA_CLAIM
from support.cluster import Settings, folder_claimed, own_namespace
from support.load.watched_models import BROKEN, EMPTY_CLAIM, NAME, Clients, broken, sleeping
from support.monitoring.documented import scrape_jobs
from support.monitoring.on_cluster import ClusterMonitoring
from support.monitoring.prometheus import EVERY
from support.repository import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600, func_only=True)]

LOAD = 60.0  # seconds
AT_ONCE = 6
"""More than a batch has places, so that some wait."""

ANSWERED = 32
"""Enough that each histogram has grown between two scrapes, and that the activator measures times (from 20 on)."""

RECORDED_WITHIN = 60.0

ELSEWHERE = {
    "slipway:requests_held": "a wake may end between two evaluations; panels show 0 then",
    "slipway:kv_cache_usage:ratio": "llama.cpp doesn't expose it",
    "slipway:slo_budget_left:ratio": "it is recorded every 15 minutes; tests/rules has it",
    "slipway:slo_good:sum15m": "it is recorded every 15 minutes; tests/rules has it",
    "slipway:slo_requests:sum15m": "it is recorded every 15 minutes; tests/rules has it",
    "slipway:preemptions:rate5m": "llama.cpp doesn't preempt",
    "slipway:speculative_acceptance:ratio5m": "Slipway runs llama.cpp without a draft model",
    "slipway:speculative_accepted_length:mean5m": "Slipway runs llama.cpp without a draft model",
    "slipway_planned_decode_tokens_per_second": "the plan doesn't know how fast the CPUs of this machine are",
    "slipway:gpu_memory_used:bytes": "there is no GPU",
    "slipway:gpu_utilization:ratio": "there is no GPU",
}
"""Series without a source here, and why."""


@dataclass(frozen=True)
class Watched:
    """What Prometheus saw of the namespace."""

    alerts: ClusterMonitoring
    namespace: str

    async def until_data(self, promql: str) -> None:
        await asyncio.to_thread(self.alerts.own.until_data, promql, within=RECORDED_WITHIN)

    def scraped(self) -> set[tuple[str, str | None]]:
        """Returns pod and model of each target that answers; those of the broken model come and go."""
        found = [each["labels"] for each in self.alerts.own.targets() if each["health"] == "up"]
        pods = {(labels["pod"], labels.get("llmdeployment")) for labels in found}
        return {(pod, model) for pod, model in pods if model != BROKEN}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def watched(
    node: Cluster, alerts: ClusterMonitoring, settings: Settings, empty_folder: Path
) -> AsyncIterator[Watched]:
    """A model that was woken and loaded, whose replicas follow times, and one that could not be woken."""
    async with own_namespace(alerts.kube) as kube:
        weights = model.ensure_gguf(settings.cache, settings.steps)
        async with folder_claimed(kube, GEMMA_CLAIM, weights), folder_claimed(kube, EMPTY_CLAIM, empty_folder):
            await kube.apply(sleeping(scaling={"target": {"ttftP95": "1m"}}), broken())
            for name in (NAME, BROKEN):
                await kube.wait_for_condition("scaledobject", name, "Ready", timeout=300)
            await alerts.follow()
            clients = Clients(kube, node.entered)
            assert await clients.ask() == "answered"
            assert "ModelNotFound" in await clients.ask(BROKEN)
            outcomes = await clients.load(seconds=LOAD, at_once=AT_ONCE, answered=ANSWERED)
            assert outcomes["answered"] >= ANSWERED, outcomes
            async with clients.trickle():
                yield Watched(alerts, kube.namespace)
            for name in (NAME, BROKEN):
                await kube.delete("llmdeployment", name, wait=True)


def queries() -> Iterator[Filled]:
    for dashboard in DASHBOARDS:
        for each in filled(dashboard, namespace="NAMESPACE", llmdeployment=NAME):
            if " or 0 * " in each.promql or not any(name in each.promql for name in ELSEWHERE):
                yield each


@pytest.mark.parametrize("query", list(queries()), ids=lambda each: each.place)
async def test_a_query_of_a_panel_has_data(watched: Watched, query: Filled) -> None:
    await watched.until_data(query.promql.replace("NAMESPACE", watched.namespace))


@pytest.mark.parametrize("name", sorted({each.name for group in GROUPS for each in group.recordings}))
async def test_a_recorded_series_has_data(watched: Watched, name: str) -> None:
    if reason := ELSEWHERE.get(name):
        pytest.skip(reason)
    await watched.until_data(name)


async def test_the_scrape_configuration_of_the_documentation_finds_what_the_pod_monitors_find(watched: Watched) -> None:
    alerts = watched.alerts
    by_monitors = await asyncio.to_thread(watched.scraped)
    jobs = [job | {"scrape_interval": EVERY, "scrape_timeout": EVERY} for job in scrape_jobs(alerts.pods)]
    try:
        await asyncio.to_thread(alerts.own.configure, rules={}, scrapes=jobs)
        await asyncio.to_thread(alerts.own.until, lambda: watched.scraped() == by_monitors, within=30)
    finally:
        await alerts.follow()
    assert {model for _, model in by_monitors} >= {None, NAME}


# --- the metrics of operator and activator ---------------------------------------------------------------------------

NOT_HERE = {
    "slipway_compile_caches": "no model here is compiled",
    "slipway_plan_error_ratio": "no plan is off by more than 5 %",
    "slipway_planned_decode_tokens_per_second": "the plan doesn't know how fast the CPUs of this machine are",
    "slipway_watch_restarts_total": "no watch is restarted",
}
"""Documented metrics that may have no series here, and why."""

OF_TARGETS = {"__name__", "instance", "job", "pod", "container", "endpoint", "namespace", "le"}


def documented(program: str) -> dict[str, set[str]]:
    """The labels of each metric."""
    rows = re.findall(r"^\| `(slipway_\w+)` \| \w+ \| ([^|]*) \|", reference(program), re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}


def reference(program: str) -> str:
    return (ROOT / "docs/reference" / f"{program}.md").read_text()


PROGRAMS = ("operator", "activator")


@pytest.mark.parametrize("name", sorted({name for program in PROGRAMS for name in documented(program)}))
async def test_a_documented_metric_is_exposed_by_a_real_run(watched: Watched, name: str) -> None:
    if reason := NOT_HERE.get(name):
        pytest.skip(reason)
    await watched.until_data(f'present_over_time({{__name__=~"{name}(_count)?"}}[15m])')


@pytest.mark.parametrize("program", PROGRAMS)
async def test_a_program_exposes_nothing_that_is_not_documented(watched: Watched, program: str) -> None:
    known = documented(program)
    found = watched.alerts.own.query(f'{{__name__=~"slipway_.+",pod=~"slipway-{program}-.+"}}')
    assert found
    for sample in found:
        name = re.sub(r"_(bucket|sum|count|created)$", "", sample.labels["__name__"])
        name = name if name in known else f"{name}_total"  # of which Prometheus' client exposes when it was created
        assert set(sample.labels) - OF_TARGETS <= known.get(name, set()), sample.labels
