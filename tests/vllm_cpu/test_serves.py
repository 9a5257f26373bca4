"""The life of one `slipway-runtime serve vllm` with Gemma, in the order of these tests: it serves, drains and ends."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from support.fakes.otlp_collector import OtlpCollector, otlp_collector
from support.load.completions import complete, events
from support.programs.processes import tree
from support.programs.supervised_pod import is_alive
from support.programs.vllm_pod import VllmPod

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(1800)]

SENSIBLE = re.compile(r"container|orchestrat|deploy|cluster|cloud|platform", re.IGNORECASE)
KEY = {"Authorization": "Bearer key-of-alice"}
DRAIN = 20


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def collector() -> AsyncIterator[OtlpCollector]:
    async with otlp_collector() as collector:
        yield collector


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pod(
    tmp_path_factory: pytest.TempPathFactory, python: Path, gemma: Path, collector: OtlpCollector
) -> AsyncIterator[VllmPod]:
    folder = tmp_path_factory.mktemp("pod")
    (folder / "keys").mkdir()
    (folder / "keys/alice").write_text("key-of-alice")
    async with aiohttp.ClientSession(headers=KEY) as http, VllmPod(folder, http, python) as pod:
        options = [f"--api-keys={folder / 'keys'}", f"--drain-limit={DRAIN}"]
        options += [f"--traces-endpoint={collector.url}", "--traces-sample-ratio=0"]
        await pod.serve(gemma, *options, flags=("--max-model-len=4096",))
        await pod.until_ready()
        yield pod


async def test_it_continues_a_text_sensibly_and_always_in_the_same_way(pod: VllmPod) -> None:
    first, second = [(await complete(pod.http, pod.url, "Kubernetes is", model=pod.model)).text for _ in range(2)]
    assert SENSIBLE.search(first)
    assert first == second


async def test_engine_core_and_server_started_in_parallel_and_it_logs_what_it_runs(pod: VllmPod) -> None:
    info = await pod.info()
    assert info["engine"]["version"].startswith("0.32.0")
    assert info["model"]["architecture"] == "Gemma3ForCausalLM"
    assert info["capacity"]["contextLength"] == "4,096"
    assert info["measured"]["kvTokens"] == int(info["capacity"]["kvTokens"].replace(",", ""))
    reached = [moment["name"] for moment in info["phases"]]
    assert {"core ready", "server serves", "loading", "loaded", "profiled", "answers", "ready"} <= {*reached}
    assert not [line for line in pod.log_lines if "the ordinary way" in line]


async def test_one_scrape_has_the_metrics_of_runtime_guard_and_vllm(pod: VllmPod) -> None:
    await complete(pod.http, pod.url, "Kubernetes is", model=pod.model, max_tokens=8)
    _, text = await pod.get("/metrics")
    assert 'slipway_runtime_state{state="Ready"} 1.0' in text
    assert re.search(r'slipway_tokens_total{key="alice",kind="completion",.*} \d', text)
    assert re.search(r"^vllm:generation_tokens_total{.*} \d", text, re.MULTILINE)
    assert "_created{" not in text
    families = [line for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(families) == len(set(families))


async def test_its_start_and_a_request_are_traced_and_vllms_own_span_is_within_ours(
    pod: VllmPod, collector: OtlpCollector
) -> None:
    trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    body = {"model": pod.model, "prompt": "Kubernetes is", "max_tokens": 8}
    sampled = {"traceparent": f"00-{trace}-{span}-01"}
    async with pod.http.post(f"{pod.url}/v1/completions", json=body, headers=sampled) as answer:
        assert answer.status == 200
    [vllm_span] = await collector.until(lambda each: each.name == "llm_request" and each.trace_id == trace)
    [guard_span] = await collector.until(lambda each: each.span_id == vllm_span.parent_id)
    assert (guard_span.trace_id, guard_span.parent_id, guard_span.name) == (trace, span, f"text_completion {pod.model}")
    assert vllm_span.lies_within(guard_span)
    assert vllm_span.attributes["gen_ai.latency.time_in_queue"] >= 0
    start = await collector.named("start")
    assert {"core ready", "server serves", "loaded", "ready"} <= {phase.name for phase in collector.within(start)}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        *((path, 401) for path in ("/v1/completions", "/v1/chat/completions", "/v1/responses", "/tokenize")),
        *((path, 404) for path in ("/invocations", "/generative_scoring", "/scale_elastic_ep", "/metrics", "/load")),
        *((path, 404) for path in ("/version", "/health", "/kv_event_sources", "/inference/v1/generate", "/docs")),
    ],
)
async def test_a_client_without_a_key_reaches_nothing(pod: VllmPod, path: str, status: int) -> None:
    """vLLM's own key protects the paths under /v1, but /invocations generates without a key."""
    body = {"model": pod.model, "prompt": "Hi", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    async with aiohttp.ClientSession() as stranger, stranger.post(pod.url + path, json=body) as answer:
        assert answer.status == status
        assert set(await answer.json()) == {"error"}


async def test_a_head_without_an_end_is_refused_after_the_fast_start(pod: VllmPod) -> None:
    assert any("fast start" in line for line in pod.log_lines)
    assert not [line for line in pod.log_lines if "the ordinary way" in line]
    assert await pod.refuses_a_head_without_an_end()


async def test_on_a_stop_it_finishes_what_it_can_refuses_new_requests_cuts_the_rest_and_leaves_nothing(
    pod: VllmPod,
) -> None:
    """vLLM itself answers new requests with an empty success meanwhile, and never ends while a request outlives it."""
    _, *started = tree(pod.process.pid)
    assert len(started) >= 4  # the launcher, the server, the engine core, and its worker
    async with pod.long_stream() as endless, pod.long_stream(tokens=4) as short:
        pod.stop()
        await pod.until_logged("Refusing new requests")
        assert (await pod.get("/readyz"))[0] == 503
        async with await pod.completion(prompt="Hi", max_tokens=1) as refused:
            assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
            assert (await refused.json())["error"]["code"] == "draining"
        assert (await short.read()).endswith(b"data: [DONE]\n\n")
        received = [event async for event in events(endless.content)]
    assert received[-1]["error"]["code"] == "cut_off"
    assert await pod.until_ended() == 0
    assert not any(map(is_alive, started))
    assert not pod.termination_log.exists()
