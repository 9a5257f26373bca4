"""What a collector receives from a real llama.cpp: its start as a trace, and its requests with their phases."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
from slipway.activator.shared.hold_limits import HoldLimits
from slipway.activator.shared.replica import Replica
from support.fakes.otlp_collector import OtlpCollector, Received, otlp_collector
from support.programs.activator import activated, connected
from support.programs.llamacpp_pod import LlamacppPod

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SLACK = 100 * 10**6  # nanoseconds
SAMPLED = {"traceparent": f"00-{TRACE}-{SPAN}-01"}


@pytest.fixture
async def collector() -> AsyncIterator[OtlpCollector]:
    async with otlp_collector() as collector:
        yield collector


def follow_each_other(spans: list[Received]) -> bool:
    return all(one.end == next_one.start for one, next_one in pairwise(spans))


@pytest.fixture
def cut_short(gemma: Path, tmp_path: Path) -> Path:
    file = tmp_path / "cut.gguf"
    file.write_bytes(gemma.read_bytes()[:1_000_000])
    return file


async def check_start(pod: LlamacppPod, collector: OtlpCollector, ready: str) -> None:
    start = await collector.named("start")
    match = re.search(r"trace ([0-9a-f]{32})\.", ready)
    assert match
    assert match[1] == start.trace_id == (await pod.info())["trace"]
    assert (start.parent_id, start.error, start.attributes["slipway.engine"]) == ("", None, "llamacpp")
    assert start.attributes["slipway.contextLength"] == "4096"
    phases = collector.within(start)
    assert [span.name for span in phases] == ["checked", "launched", "loading", "loaded", "answers", "ready"]
    assert follow_each_other(phases)
    assert (phases[0].start, phases[-1].end) == (start.start, start.end)


def check_request(collector: OtlpCollector, span: Received) -> None:
    assert (span.trace_id, span.parent_id, span.kind) == (TRACE, SPAN, "SPAN_KIND_SERVER")
    assert span.attributes["gen_ai.usage.output_tokens"] == 8
    assert span.attributes["gen_ai.usage.input_tokens"] > 2
    queue, prefill, decode = stages = collector.within(span)
    assert [stage.name for stage in stages] == ["queue", "prefill", "decode"]
    assert follow_each_other(stages)
    assert queue.start == span.start
    assert prefill.end > prefill.start
    assert decode.end > decode.start
    assert all(stage.lies_within(span) and stage.trace_id == TRACE for stage in stages)


async def test_its_start_and_its_requests_are_traced(
    pod: LlamacppPod, gemma: Path, collector: OtlpCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=of-the-collector")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "k8s.namespace.name=chat")
    await pod.serve(gemma, f"--traces-endpoint={collector.url}", "--traces-sample-ratio=0")
    await check_start(pod, collector, await pod.until_logged("Ready after"))

    async with await pod.completion(prompt="No one wants a trace of this", max_tokens=1) as answer:
        await answer.read()
    async with await pod.completion(prompt="A container is", max_tokens=8, headers=SAMPLED) as answer:
        await answer.read()
    async with await pod.completion(prompt="Kubernetes is", max_tokens=8, stream=True, headers=SAMPLED) as answer:
        await answer.read()
    pod.stop()
    assert await pod.until_ended() == 0  # and the remaining spans have been sent
    plain, streamed = (span for span in collector.spans if span.name == "text_completion gemma")
    for span in (plain, streamed):
        check_request(collector, span)
    assert "gen_ai.request.stream" not in plain.attributes
    first_token = int(streamed.attributes["gen_ai.response.time_to_first_chunk"] * 1e9)
    assert collector.within(streamed)[1].end == pytest.approx(streamed.start + first_token, abs=1000)

    for span in collector.spans:
        assert (span.resource["service.name"], span.resource["k8s.namespace.name"]) == ("gemma", "chat")
        assert "Kubernetes" not in str(span)
    assert {headers["api-key"] for headers in collector.headers} == {"of-the-collector"}


async def test_one_trace_leads_from_the_client_through_hold_and_wake_to_the_last_token(
    pod: LlamacppPod, gemma: Path, collector: OtlpCollector
) -> None:
    """A real activator holds the request from before the pod starts until it is ready."""
    body = b'{"model": "gemma", "prompt": "Kubernetes is", "max_tokens": 8}'
    headers = f"Content-Type: application/json\r\ntraceparent: {SAMPLED['traceparent']}\r\n"
    async with activated(limits=HoldLimits(timeout=300)) as activator, connected(activator) as client:
        before = time.time_ns()
        client.post(body, headers=headers)
        await activator.until_waiting(1)
        await asyncio.sleep(0.2)  # as the scheduler and the kubelet take
        await pod.serve(gemma, f"--traces-endpoint={collector.url}", "--traces-sample-ratio=0")
        await pod.until_ready()
        activator.update(replicas=(Replica("127.0.0.1", pod.engine_port, 4),))
        answer = await client.answer()
    after = time.time_ns()
    request, start = await collector.named("text_completion gemma"), await collector.named("start")
    assert (request.trace_id, request.parent_id) == (TRACE, SPAN)
    hold, *stages = sorted(collector.within(request), key=lambda span: span.start)
    assert [span.name for span in (hold, *stages)] == ["hold", "queue", "prefill", "decode"]
    assert follow_each_other([hold, *stages])
    [wake] = collector.within(hold)
    pull, starting = collector.within(wake)
    assert [span.name for span in (wake, pull, starting)] == ["wake", "pull", "start"]
    assert starting.links == [(start.trace_id, start.span_id)]
    assert start.trace_id != TRACE
    phases = [span.name for span in collector.within(start)]
    assert [span.name for span in collector.within(starting)] == phases
    # The hold's times have no fractions of milliseconds, and a request ends a little after its last byte was sent.
    assert before - SLACK < request.start < request.end < after + SLACK
    for outer, inner in ((request, hold), (hold, wake), (wake, pull), (wake, starting)):
        assert inner.lies_within(outer)
        assert inner.trace_id == TRACE
    assert starting.start == pytest.approx(start.start, abs=SLACK)
    assert hold.end - hold.start == pytest.approx(int(answer.headers["slipway-held-ms"]) * 10**6, abs=SLACK)


async def test_a_start_that_fails_is_a_trace_with_the_reason(
    pod: LlamacppPod, cut_short: Path, collector: OtlpCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACEPARENT", SAMPLED["traceparent"])
    await pod.serve(cut_short, f"--traces-endpoint={collector.url}")
    assert await pod.until_ended() == 12
    start = await collector.named("start")
    assert (start.trace_id, start.parent_id) == (TRACE, SPAN)
    assert (start.attributes["error.type"], start.error) == (
        "ModelCorrupt",
        f"ModelCorrupt: {pod.termination_message()['message']}",
    )
    assert [(span.name, span.error) for span in collector.within(start)] == [("failed", start.error)]
