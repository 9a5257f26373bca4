"""A real Prometheus scrapes a real llama.cpp's pod as OpenMetrics, and its histograms name the traces of requests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from slipway_devcluster.paths import default_cache
from slipway_devcluster.progress import Steps
from support.fakes.otlp_collector import OtlpCollector, otlp_collector
from support.monitoring import programs
from support.monitoring.prometheus import Monitoring, monitoring
from support.programs.llamacpp_pod import LlamacppPod

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SAMPLED = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
NOT_SAMPLED = {"traceparent": f"00-{'9' * 32}-00f067aa0ba902b7-00"}
TIMES = ("time_to_first_token", "inter_token_latency", "time_per_output_token", "request", "queue")


@pytest.fixture
async def collector() -> AsyncIterator[OtlpCollector]:
    async with otlp_collector() as collector:
        yield collector


@pytest.fixture
def prometheus(tmp_path: Path, pod: LlamacppPod) -> Iterator[Monitoring]:
    folder, cache = tmp_path / "monitoring", default_cache()
    folder.mkdir()
    scrape = {"job_name": "pod", "static_configs": [{"targets": [f"127.0.0.1:{pod.port}"]}]}
    with monitoring(programs.ensure(cache, Steps(cache)), folder, rules={}, scrapes=[scrape]) as found:
        yield found


def exemplars(prometheus: Monitoring) -> dict[str, set[str]]:
    """Returns the traces that each histogram names."""
    now = time.time()
    found = prometheus.ask(
        "query_exemplars", query='{__name__=~"slipway_.*_bucket"}', start=str(now - 600), end=str(now + 60)
    )
    traces: dict[str, set[str]] = {}
    for each in found:
        name = each["seriesLabels"]["__name__"].removeprefix("slipway_").removesuffix("_seconds_bucket")
        traces.setdefault(name, set()).update(one["labels"]["trace_id"] for one in each["exemplars"])
    return traces


async def test_histograms_name_the_traces_of_sampled_requests_and_of_no_others(
    pod: LlamacppPod, gemma: Path, collector: OtlpCollector, prometheus: Monitoring
) -> None:
    await pod.serve(gemma, f"--traces-endpoint={collector.url}", "--traces-sample-ratio=0")
    await pod.until_ready()
    for headers in (NOT_SAMPLED, {}, SAMPLED, NOT_SAMPLED):
        async with await pod.completion(prompt="Kubernetes is", max_tokens=8, stream=True, headers=headers) as answer:
            await answer.read()
    await asyncio.to_thread(
        prometheus.until,
        lambda: prometheus.value("slipway_request_seconds_count") == 4,
        within=30,
        what="four requests are counted",
    )
    assert await asyncio.to_thread(exemplars, prometheus) == {name: {TRACE} for name in TIMES}
    for name in TIMES:
        counted = prometheus.value(f"slipway_{name}_seconds_count")
        assert counted, f"slipway_{name}_seconds is empty"
    assert prometheus.value("llamacpp:tokens_predicted_total")
    assert prometheus.value("slipway_runtime_busy_seconds_total")


async def test_without_traces_there_are_no_exemplars(pod: LlamacppPod, gemma: Path, prometheus: Monitoring) -> None:
    await pod.serve(gemma)
    await pod.until_ready()
    async with await pod.completion(prompt="Kubernetes is", max_tokens=2, stream=True, headers=SAMPLED) as answer:
        await answer.read()
    await asyncio.to_thread(prometheus.until, lambda: prometheus.value("slipway_request_seconds_count") == 1, within=30)
    assert exemplars(prometheus) == {}
