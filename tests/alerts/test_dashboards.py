"""No panel and no recording rule is empty: each query is run against a real Prometheus that watched a real load of both
engines, and a model that can't start."""

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
from support.load.both_engines import (
    CHECKPOINT_CLAIM,
    LLAMACPP,
    VLLM,
    load,
    models,
    wake,
)
from support.monitoring.on_cluster import ClusterMonitoring

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(1200, func_only=True)]

LOAD = 90.0  # seconds
RECORDED_WITHIN = 60.0

VLLM_ONLY = {
    "Preemptions": "llama.cpp doesn't preempt",
    "Speculative decoding": "Slipway doesn't run llama.cpp with a draft",
}
"""Panels of one model that are empty for llama.cpp, and why."""

WITHOUT_SOURCE = {
    "slipway:gpu_memory_used:bytes": "there is no GPU here; tests/rules has DCGM's exposition",
    "slipway:gpu_utilization:ratio": "there is no GPU here; tests/rules has DCGM's exposition",
}
"""Recorded series that have no source on this cluster, and where they are tested instead."""


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
async def watched(
    node: Cluster, alerts: ClusterMonitoring, settings: Settings, vllm_cpu_image: str
) -> AsyncIterator[Watched]:
    """Three models, of which two were woken and loaded."""
    async with own_namespace(alerts.kube) as kube:
        weights, checkpoint = (
            ensure(settings.cache, settings.steps) for ensure in (model.ensure_gguf, model.ensure_hf)
        )
        async with folder_claimed(kube, GEMMA_CLAIM, weights), folder_claimed(kube, CHECKPOINT_CLAIM, checkpoint):
            await kube.apply(*models())
            for each in models():
                await kube.wait_for_condition("scaledobject", each["metadata"]["name"], "Ready", timeout=60)
            await alerts.follow()
            await wake(kube, node.entered, within=600)
            await alerts.follow()
            assert await load(kube, node.entered, seconds=LOAD) > 20
            yield Watched(alerts, kube.namespace)
            await kube.delete("llmdeployment", "--all", wait=True)


def queries() -> Iterator[tuple[str, Filled]]:
    """Yields each query for each model that it must have data for."""
    for dashboard in DASHBOARDS:
        names = (LLAMACPP, VLLM) if dashboard.selects == "model" else ("",)
        for name in names:
            for each in filled(dashboard, namespace="NAMESPACE", llmdeployment=name):
                if not each.panel.needs and not (name == LLAMACPP and each.panel.title in VLLM_ONLY):
                    yield f"{each.place} {name}".strip(), each


@pytest.mark.parametrize("query", [pytest.param(each, id=place) for place, each in queries()])
async def test_a_query_of_a_panel_has_data(watched: Watched, query: Filled) -> None:
    promql = query.promql.replace("NAMESPACE", watched.namespace)
    await asyncio.to_thread(watched.until_data, promql)


@pytest.mark.parametrize("name", sorted({each.name for group in GROUPS for each in group.recordings}))
async def test_a_recorded_series_has_data(watched: Watched, name: str) -> None:
    if reason := WITHOUT_SOURCE.get(name):
        pytest.skip(reason)
    await asyncio.to_thread(watched.until_data, name)
