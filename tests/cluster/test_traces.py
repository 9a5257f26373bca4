"""One trace of a request to a model at zero, from its client to the last token, as a collector receives it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from slipway_devcluster import model
from slipway_devcluster.cluster import Cluster
from support.builders.llmdeployments import llmdeployment
from support.cluster import FromTheNode, Kube, Object, Settings, folder_claimed
from support.cluster.services import reachable
from support.cluster.tester import ReachableServer
from support.fakes.otlp_collector import OtlpCollector, otlp_collector

NAME = "gemma"
BODY = {"model": NAME, "prompt": "Kubernetes is", "max_tokens": 8, "temperature": 0}
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
SECOND = 10**9


@pytest.fixture
async def kube(operator_pods: Cluster, neighbour_kube: Kube, settings: Settings) -> AsyncIterator[Kube]:
    """A namespace with the demo model's files."""
    weights = model.ensure_gguf(settings.cache, settings.steps)
    async with folder_claimed(neighbour_kube, NAME, weights):
        yield neighbour_kube


@pytest.fixture
async def collector() -> AsyncIterator[OtlpCollector]:
    async with otlp_collector() as collector:
        yield collector


def at_zero(endpoint: str) -> Object:
    return llmdeployment(
        NAME,
        {
            "model": {"uri": f"pvc://{NAME}/"},
            "engine": {"name": "llamacpp", "contextLength": 2048, "maxConcurrency": 1},
            "scaling": {"minReplicas": 0, "maxReplicas": 1},
            "observability": {"tracing": {"endpoint": endpoint, "sampleRatio": 0}},
            "pod": {"resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}}},
        },
    )


async def test_one_trace_leads_from_the_client_through_hold_and_wake_to_the_last_token(
    operator_pods: Cluster, kube: Kube, collector: OtlpCollector
) -> None:
    tester = ReachableServer(operator_pods.node_ip, operator_pods.entered)
    access = FromTheNode(kube, operator_pods.entered)
    async with tester.relay(collector.port) as port, access.session() as session:
        await kube.apply(at_zero(f"http://{operator_pods.node_ip}:{port}"))
        await kube.wait_for_condition("llmdeployment", NAME, "Ready")
        url = f"{await reachable(access, NAME)}/v1/completions"
        before = time.time_ns()
        async with session.post(url, json=BODY, headers=SAMPLED) as answer:
            assert answer.status == 200, await answer.text()
            await answer.read()
            held = int(answer.headers["Slipway-Held-Ms"]) / 1000
        after = time.time_ns()
        request, start = await collector.named(f"text_completion {NAME}"), await collector.named("start")
    assert (request.trace_id, request.parent_id, request.attributes["slipway.request_id"]) == (
        TRACE,
        SPAN,
        answer.headers["X-Request-Id"],
    )
    hold, *stages = sorted(collector.within(request), key=lambda span: span.start)
    assert [span.name for span in (hold, *stages)] == ["hold", "queue", "prefill", "decode"]
    [wake] = collector.within(hold)
    steps = collector.within(wake)
    # The API server's times have no fraction of a second, so a short step may not be seen.
    assert {"pull", "start"} <= {span.name for span in steps} <= {"scale", "schedule", "pull", "start"}
    assert steps[-1].links == [(start.trace_id, start.span_id)]
    assert {span.name for span in collector.within(steps[-1])} == {span.name for span in collector.within(start)}
    for spans in ([hold, *stages], steps):
        assert all(one.end == next_one.start for one, next_one in pairwise(spans))
    inner = [(request, hold), (hold, wake), *((request, stage) for stage in stages), *((wake, step) for step in steps)]
    assert all(span.lies_within(outer) and span.trace_id == TRACE for outer, span in inner)
    # The hold's times have no fractions of milliseconds, and a request ends a little after its last byte was sent.
    assert before - SECOND / 10 < request.start < request.end < after + SECOND / 10
    assert (hold.end - hold.start) / SECOND == pytest.approx(held, abs=0.1)
    assert (wake.end - wake.start) / SECOND == pytest.approx(held, abs=2)
