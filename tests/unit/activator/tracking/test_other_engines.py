"""Other engines, by the annotations of their runtimes: they are reported idle, busy and not ready as they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from slipway.activator.tracking import metrics_poller
from slipway.activator.tracking.engine_metrics import MetricsReading, read
from slipway.activator.tracking.idleness import ModelActivity
from slipway.activator.tracking.metrics_poller import MetricsPoller
from slipway.activator.tracking.pod_summary import ReadinessProbe, metrics_of, probe_of
from slipway.activator.tracking.poller import PollTarget
from slipway.activator.tracking.readiness_poller import ReadinessPoller
from slipway.api.model_key import ModelKey
from slipway.observing.keeping import pod_shown
from support.charts.third_party_runtimes import BY_ENGINE, NOTES, container_of, environment_of
from support.fakes.third_party_engine import ENGINES, OLDER, Counts, Scripted
from support.ports import free_port

LLAMA = ModelKey("chat", "llama")
ENGINE_ANNOTATION = {"nim-1": "nim"}
ALL = {**ENGINES, **OLDER}
each_engine = pytest.mark.parametrize("name", ALL)
each_runtime = pytest.mark.parametrize("name", ENGINES)


@pytest.fixture(autouse=True)
def runtime_environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    name = request.node.callspec.params["name"]
    for variable, value in environment_of(BY_ENGINE[ENGINE_ANNOTATION.get(name, name)]).items():
        monkeypatch.setenv(variable, value)


def reading(name: str, **counts: int) -> MetricsReading | None:
    return read(ALL[name].metrics(Counts(**counts)), NOTES[ENGINE_ANNOTATION.get(name, name)].metrics.words)


# --- what its metrics show -------------------------------------------------------------------------------------------


@each_engine
def test_an_engine_that_has_served_and_has_no_requests_is_idle(name: str) -> None:
    actual = reading(name, done=3)
    assert actual
    assert actual.in_flight == 0


@each_engine
def test_running_and_waiting_requests_are_in_flight(name: str) -> None:
    actual = reading(name, running=2, waiting=1, done=3)
    assert actual
    assert actual.in_flight == 3


@each_engine
def test_a_request_between_two_polls_is_detected_by_its_counters(name: str) -> None:
    before, after = reading(name, done=3), reading(name, done=4)
    assert before
    assert after
    assert after.tokens > before.tokens


@each_engine
def test_a_readiness_probe_is_not_use(name: str) -> None:
    assert reading(name, done=3, looks=1000) == reading(name, done=3)


@each_engine
def test_before_its_first_request_it_is_idle(name: str) -> None:
    """An engine that never gets a request, because the client that woke it has left, must go to sleep, too."""
    assert reading(name) == MetricsReading(0, 0)


@each_engine
def test_it_is_in_use_while_it_has_requests_and_idle_from_then_on(name: str) -> None:
    activity, idle = ModelActivity(), []
    steps: list[dict[str, int]] = [{"done": 1}, {"done": 1, "running": 1}, {"done": 1, "running": 1}, {"done": 2}]
    steps += [{"done": 2, "looks": 9}] * 3
    for second, counts in enumerate(steps):
        actual = reading(name, **counts)
        assert actual
        activity.record("a", actual, now=second)
        idle.append(activity.use_of({"a"}, now=second).idle_for)
    assert idle == [0, 0, 0, 0, 1, 2, 3]


@each_engine
def test_the_metric_names_of_our_own_engines_do_not_fit_it(name: str) -> None:
    """Otherwise it would need no annotations: NIM 2.1 has vLLM's."""
    actual = read(ALL[name].metrics(Counts(done=1, running=1)))
    assert (actual is None) == (name != "nim")


# --- over the network ------------------------------------------------------------------------------------------------


@pytest.fixture
def scripted(name: str) -> Iterator[Scripted]:
    """It isn't ready yet."""
    port = free_port()
    engine = Scripted(ENGINES[name], port, free_port() if ENGINES[name].metrics_port else port)
    engine.start()
    yield engine
    engine.stop()


def pod_of(name: str) -> dict[str, Any]:
    """As KServe creates it from the runtime, and as much of it as the activator stores."""
    metadata = {"name": "a", "uid": "a", "annotations": BY_ENGINE[name]["spec"]["annotations"]}
    return pod_shown({"metadata": metadata, "spec": {"containers": [container_of(BY_ENGINE[name])]}, "status": {}})


def target_of(name: str, scripted: Scripted) -> PollTarget:
    """As derived from the pod, except for the ports."""
    question, metrics = probe_of(pod_of(name)), metrics_of(pod_of(name))
    assert question
    assert metrics
    assert metrics.port in {each["containerPort"] for each in container_of(BY_ENGINE[name])["ports"]}
    at = replace(metrics, port=scripted.metrics_port)
    return PollTarget(LLAMA, "a", "127.0.0.1", scripted.port, "container", path=question.path, metrics=at)


@pytest.fixture
async def readings(name: str, scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[asyncio.Queue[Any]]:
    monkeypatch.setattr(metrics_poller, "EVERY", (0.01, 0.01))
    queue: asyncio.Queue[MetricsReading] = asyncio.Queue()
    asking = MetricsPoller(lambda _, __, reading: queue.put_nowait(reading))
    asking.follow(LLAMA, [target_of(name, scripted)])
    yield queue
    await asking.close()


async def until(readings: asyncio.Queue[MetricsReading], in_flight: float) -> None:
    async with asyncio.timeout(10):
        while (await readings.get()).in_flight != in_flight:
            pass


@each_runtime
async def test_a_request_makes_it_busy_and_its_end_idle(
    name: str, scripted: Scripted, readings: asyncio.Queue[MetricsReading]
) -> None:
    scripted.is_ready.set()
    url = f"http://127.0.0.1:{scripted.port}{scripted.engine.asked}"
    async with aiohttp.ClientSession() as session:
        async with asyncio.TaskGroup() as group:
            request_task = group.create_task(session.post(url, json={"seconds": 0.5}))
            await until(readings, 1)
        assert request_task.result().status == 200
        await until(readings, 0)


@each_runtime
async def test_it_counts_as_ready_when_it_is_and_not_before(name: str, scripted: Scripted) -> None:
    is_ready_seen = asyncio.Event()
    poller = ReadinessPoller(lambda _: is_ready_seen.set())
    poller.follow(LLAMA, [replace(target_of(name, scripted), port=scripted.port)])
    try:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(is_ready_seen.wait(), 0.3)
        assert scripted.counts.looks
        scripted.is_ready.set()
        await asyncio.wait_for(is_ready_seen.wait(), 10)
    finally:
        await poller.close()


@each_runtime
def test_it_is_probed_where_the_kubelet_probes_it(name: str) -> None:
    assert probe_of(pod_of(name)) == ReadinessProbe(8080, ENGINES[name].health)
