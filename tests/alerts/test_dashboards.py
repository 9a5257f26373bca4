"""No panel and no recording rule is empty: each query is run against a real Prometheus that has watched a real load of
llama.cpp, and a model that can't start. tests/vllm_cpu/test_panels.py does the same for vLLM."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from slipway_devcluster import model
from slipway_devcluster.cluster import Cluster
from slipway_monitoring.dashboards import DASHBOARDS
from slipway_monitoring.dashboards.filling import Filled, filled
from slipway_monitoring.vocabulary import GROUPS
from support.builders.llmdeployments import GEMMA_CLAIM
from support.cluster import Settings, folder_claimed, own_namespace
from support.load.watched_models import BROKEN, NAME, Clients, broken, sleeping
from support.monitoring.on_cluster import ClusterMonitoring

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600, func_only=True)]

LOAD = 60.0  # seconds
AT_ONCE = 6
"""More than a batch has places, so that some wait."""

RECORDED_WITHIN = 60.0

ELSEWHERE = {
    "slipway:preemptions:rate5m": "llama.cpp doesn't preempt",
    "slipway:speculative_acceptance:ratio5m": "Slipway runs llama.cpp without a draft model",
    "slipway:speculative_accepted_length:mean5m": "Slipway runs llama.cpp without a draft model",
    "slipway:gpu_memory_used:bytes": "there is no GPU",
    "slipway:gpu_utilization:ratio": "there is no GPU",
}
"""Recorded series without a source here, and why."""


@dataclass(frozen=True)
class Watched:
    """What Prometheus saw of the namespace."""

    alerts: ClusterMonitoring
    namespace: str

    def until_data(self, promql: str) -> None:
        """Waits for a value; NaN is none."""
        own = self.alerts.own
        own.until(
            lambda: any(not math.isnan(sample.value) for sample in own.query(promql)),
            within=RECORDED_WITHIN,
            what=f"data for {promql}",
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def watched(node: Cluster, alerts: ClusterMonitoring, settings: Settings) -> AsyncIterator[Watched]:
    """A model that was woken and loaded, and one that could not be woken."""
    async with own_namespace(alerts.kube) as kube:
        weights = model.ensure_gguf(settings.cache, settings.steps)
        async with folder_claimed(kube, GEMMA_CLAIM, weights):
            await kube.apply(sleeping(), broken())
            for name in (NAME, BROKEN):
                await kube.wait_for_condition("scaledobject", name, "Ready", timeout=60)
            await alerts.follow()
            clients = Clients(kube, node.entered)
            assert await clients.ask() == "answered"
            assert (await clients.ask(BROKEN)).startswith("503")
            assert await clients.load(seconds=LOAD, at_once=AT_ONCE) > AT_ONCE
            yield Watched(alerts, kube.namespace)
            for name in (NAME, BROKEN):
                await kube.delete("llmdeployment", name, wait=True)


def queries() -> Iterator[Filled]:
    for dashboard in DASHBOARDS:
        for each in filled(dashboard, namespace="NAMESPACE", llmdeployment=NAME):
            if not any(name in each.promql for name in ELSEWHERE):
                yield each


@pytest.mark.parametrize("query", list(queries()), ids=lambda each: each.place)
async def test_a_query_of_a_panel_has_data(watched: Watched, query: Filled) -> None:
    await asyncio.to_thread(watched.until_data, query.promql.replace("NAMESPACE", watched.namespace))


@pytest.mark.parametrize("name", sorted({each.name for group in GROUPS for each in group.recordings}))
async def test_a_recorded_series_has_data(watched: Watched, name: str) -> None:
    if reason := ELSEWHERE.get(name):
        pytest.skip(reason)
    await asyncio.to_thread(watched.until_data, name)
