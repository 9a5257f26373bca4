"""What a real llama.cpp's pod exposes after a load."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families as parse
from slipway_runtime.contract.buckets import FIRST_TOKEN_BUCKETS, REQUEST_BUCKETS, TOKEN_BUCKETS
from slipway_runtime.contract.engines import LLAMACPP
from support.fakes.otlp_collector import OtlpCollector, otlp_collector
from support.monitoring.recording import record
from support.programs.llamacpp_pod import LlamacppPod

TIMES = {
    "time_to_first_token": FIRST_TOKEN_BUCKETS,
    **dict.fromkeys(("inter_token_latency", "time_per_output_token"), TOKEN_BUCKETS),
    **dict.fromkeys(("request", "queue"), REQUEST_BUCKETS),
}
TOKENS = 16


@pytest.fixture
async def collector() -> AsyncIterator[OtlpCollector]:
    async with otlp_collector() as collector:
        yield collector


async def answered(pod: LlamacppPod, number: int) -> None:
    body = {"prompt": f"{number} containers are", "max_tokens": TOKENS, "ignore_eos": True, "stream": True}
    async with await pod.completion(**body) as answer:
        assert answer.status == 200
        await answer.read()


async def test_after_a_load_every_series_of_times_counts_and_both_formats_are_valid(
    pod: LlamacppPod, gemma: Path, collector: OtlpCollector
) -> None:
    await pod.serve(gemma, "--parallel=2", f"--traces-endpoint={collector.url}", "--traces-sample-ratio=1")
    await pod.until_ready()
    await asyncio.gather(*(answered(pod, number) for number in range(4)))
    async with await pod.completion(prompt="x", max_tokens=-5) as refused:
        assert refused.status == 400
    page = await pod.until_response_has("/metrics", 'slipway_spans_total{model_name="gemma",outcome="sent"}')

    families = {family.name: family for family in parse(page)}
    for name, buckets in TIMES.items():
        samples = families[f"slipway_{name}_seconds"].samples
        found = [each.labels["le"] for each in samples if each.name.endswith("_bucket")]
        assert found == [*map(str, buckets), "+Inf"], name
        assert [each.value for each in samples if each.name.endswith("_count")] > [0], name
    assert families["slipway_inter_token_latency_seconds"].samples[-2].value == 4 * (TOKENS - 1)
    assert "_created{" not in page

    usage = (await pod.info())["usage"]
    warm_up = 1
    assert (usage["requests"], usage["failedRequests"], usage["outputTokens"]) == (4, 0, 4 * TOKENS + warm_up)
    [prompts] = re.findall(r'^slipway_tokens_total\{.*"prompt".*\} (\S+)$', page, re.MULTILINE)
    assert usage["promptTokens"] == float(prompts) + len(("<bos>", "Hello"))
    assert 0 < usage["busySeconds"] < usage["readySeconds"]
    assert 1 < mean_batch(page) <= 2

    open_metrics = (await pod.http.get(f"http://127.0.0.1:{pod.port}/metrics", headers=OPEN_METRICS)).text
    parsed = list(parse_open_metrics(await open_metrics()))  # type: ignore[no-untyped-call]
    names = {sample.name for family in parsed for sample in family.samples}
    assert {*LLAMACPP.metrics.in_flight, *LLAMACPP.metrics.progress, *LLAMACPP.metrics.alive} <= names
    record(f"llamacpp-{(await pod.info())['engine']['version']}", page)


OPEN_METRICS = {"Accept": "application/openmetrics-text"}


def mean_batch(page: str) -> float:
    """Requests that the engine computed at a time, while it computed any."""
    [seconds] = re.findall(r"^slipway_engine_response_seconds_total\S* (\S+)$", page, re.MULTILINE)
    [busy] = re.findall(r"^slipway_runtime_busy_seconds_total (\S+)$", page, re.MULTILINE)
    return float(seconds) / float(busy)
