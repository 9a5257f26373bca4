"""What a real vLLM's pod exposes after a load, with and without speculative decoding."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families as parse
from slipway_runtime.contract.buckets import FIRST_TOKEN_BUCKETS, REQUEST_BUCKETS, TOKEN_BUCKETS
from slipway_runtime.contract.engines import VLLM
from support.fakes.otlp_collector import OtlpCollector, otlp_collector
from support.monitoring.recording import record
from support.programs.vllm_pod import VllmPod

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(1800)]

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SAMPLED = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
REPEATING = "one two three four five six seven eight " * 8
NGRAM = json.dumps({"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 4, "prompt_lookup_min": 1})
TIMES = {
    "time_to_first_token": FIRST_TOKEN_BUCKETS,
    "inter_token_latency": TOKEN_BUCKETS,
    "request_time_per_output_token": TOKEN_BUCKETS,
    **dict.fromkeys(("e2e_request_latency", "request_queue_time", "request_inference_time"), REQUEST_BUCKETS),
    **dict.fromkeys(("request_prefill_time", "request_decode_time"), REQUEST_BUCKETS),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def collector() -> AsyncIterator[OtlpCollector]:
    async with otlp_collector() as collector:
        yield collector


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=[(), (f"--speculative-config={NGRAM}",)], ids=["plain", "speculative"]
)
async def pod(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    python: Path,
    gemma: Path,
    collector: OtlpCollector,
) -> AsyncIterator[VllmPod]:
    """A pod that has answered some requests, a few at a time."""
    folder = tmp_path_factory.mktemp("pod")
    async with aiohttp.ClientSession() as http, VllmPod(folder, http, python) as pod:
        traces = (f"--traces-endpoint={collector.url}", "--traces-sample-ratio=0")
        await pod.serve(gemma, *traces, flags=("--max-model-len=2048", *request.param))
        await pod.until_ready()
        await asyncio.gather(*(answered(pod, number) for number in range(6)))
        yield pod


async def answered(pod: VllmPod, number: int) -> None:
    body = {"prompt": REPEATING, "max_tokens": 32, "ignore_eos": True, "stream": number % 2 == 0}
    async with await pod.completion(**body, headers=SAMPLED) as answer:
        assert answer.status == 200
        await answer.read()


async def page_of(pod: VllmPod, accept: str = "text/plain") -> str:
    async with pod.http.get(f"http://127.0.0.1:{pod.port}/metrics", headers={"Accept": accept}) as answer:
        assert answer.headers["Content-Type"].startswith(accept)
        return await answer.text()


async def test_every_histogram_of_times_has_our_boundaries_and_counts(pod: VllmPod) -> None:
    page = await page_of(pod)
    families = {family.name: family for family in parse(page)}
    for name, buckets in TIMES.items():
        samples = families[f"vllm:{name}_seconds"].samples
        found = [each.labels["le"] for each in samples if each.name.endswith("_bucket")]
        assert found == [*map(str, buckets), "+Inf"], name
        assert sum(each.value for each in samples if each.name.endswith("_count")) > 0, name
    assert "_created{" not in page


async def test_the_page_is_valid_open_metrics_and_names_the_traces_of_requests(pod: VllmPod) -> None:
    page = await page_of(pod, "application/openmetrics-text")
    families = list(parse_open_metrics(page))  # type: ignore[no-untyped-call]
    traces = {sample.exemplar.labels["trace_id"] for family in families for sample in family.samples if sample.exemplar}
    assert traces == {TRACE}
    names = {sample.name for family in families for sample in family.samples}
    assert {*VLLM.metrics.progress, *VLLM.metrics.alive, *VLLM.metrics.in_flight} <= names
    assert {"slipway_requests_total", "slipway_runtime_busy_seconds_total"} <= names


async def test_usage_has_what_vllm_counts_itself(pod: VllmPod, request: pytest.FixtureRequest) -> None:
    usage = (await pod.info())["usage"]
    assert (usage["requests"], usage["failedRequests"], usage["preemptions"]) == (6, 0, 0)
    warm_up = 2
    assert usage["outputTokens"] == 6 * 32 + warm_up
    assert 0 < usage["busySeconds"] < usage["readySeconds"]
    is_speculative = "speculative" in request.node.callspec.id
    assert ("speculative" in usage) == is_speculative
    if is_speculative:
        found = usage["speculative"]
        assert 0 < found["acceptedTokens"] <= found["draftTokens"]
        assert 0 < found["drafts"] <= found["draftTokens"]


async def test_the_page_can_be_recorded(pod: VllmPod, request: pytest.FixtureRequest) -> None:
    version = (await pod.info())["engine"]["version"].partition("+")[0]
    kind = "-speculative" if "speculative" in request.node.callspec.id else ""
    record(f"vllm-{version}{kind}", await page_of(pod))
