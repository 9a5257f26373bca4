"""All of Slipway as pods: models sleep and wake, and every request gets a response, or the reason why it can't.

The engine is llama.cpp with the demo model. Completions are compared with each other: the temperature is 0, and
requests are served one after the other, since a completion can differ if it is computed in a batch with others.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from slipway.api.names import PAUSED_ANNOTATION, SLEEP_ANNOTATION, WAKE_ANNOTATION
from slipway_devcluster import model
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.components import SLIPWAY_NAMESPACE as NAMESPACE
from support.builders.llmdeployments import llmdeployment, merged
from support.cluster import FromTheNode, Kube, Object, Predicate, Settings, folder_claimed
from support.cluster.command_line import llm, shell
from support.faults.healed import named_by_why

NAME, PREDICTOR = "gemma", "gemma-predictor"
OPERATOR_PODS = "app.kubernetes.io/name=slipway-operator"
OURS = f"slipway.dev/llmdeployment={NAME}"
BODY = {"model": NAME, "prompt": "Kubernetes is", "max_tokens": 8, "temperature": 0}


@pytest.fixture
async def kube(operator_pods: Cluster, neighbour_kube: Kube, settings: Settings) -> AsyncIterator[Kube]:
    """A namespace with the demo model's files."""
    weights = model.ensure_gguf(settings.cache, settings.steps)
    async with folder_claimed(neighbour_kube, NAME, weights):
        yield neighbour_kube


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: str

    @property
    def was_held(self) -> bool:
        """Whether the request was held, or at least went through the activator."""
        return "Slipway-Held-Ms" in self.headers


class Client:
    """Sends requests to the Service as any process of the cluster would, each over a new connection."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._url = session, url

    async def ask(self, **more: Any) -> Answer:
        async with self._session.post(f"{self._url}/v1/completions", json=BODY | more) as answer:
            return Answer(answer.status, answer.headers, await answer.text())

    async def text(self, **more: Any) -> str:
        answer = await self.ask(**more)
        assert answer.status == 200, answer.body
        found: str = json.loads(answer.body)["choices"][0]["text"]
        return found

    async def until_direct(self) -> None:
        """Until a response comes from a replica directly: kube-proxy learns of it a moment later than we do."""
        await _until(self._is_direct)

    async def _is_direct(self) -> bool:
        return not (await self.ask()).was_held

    async def is_held(self) -> bool:
        """Whether a request reaches the activator; kube-proxy may still route it to a deleted pod."""
        try:
            answer = await self.ask()
        except aiohttp.ClientConnectionError:
            return False
        assert answer.status == 200, answer.body
        return answer.was_held

    async def hears_that_it_cannot_start(self) -> bool:
        """Whether all activators know it: each answers some of ten requests, which wake nothing."""
        return all([await self._health() == 503 for _ in range(10)])

    async def _health(self) -> int:
        async with self._session.get(f"{self._url}/health") as answer:
            return answer.status

    async def accepts(self) -> bool:
        """Whether the port accepts connections; this request doesn't wake a model."""
        try:
            async with self._session.options(f"{self._url}", headers={"Expect": "nothing"}):
                return True
        except aiohttp.ClientConnectionError:
            return False


@asynccontextmanager
async def asleep(cluster: Cluster, kube: Kube, **spec: Any) -> AsyncIterator[Client]:
    """A client of the model `gemma`, which is at zero."""
    await kube.apply(at_zero(**spec))
    await kube.wait_for_condition("scaledobject", NAME, "Ready", timeout=60)
    access = FromTheNode(kube, cluster.entered)
    async with access.session() as session:
        client = Client(session, await access.url(NAME))
        await _until(client.accepts)
        yield client
    await kube.delete(
        "llmdeployment", NAME, wait=True
    )  # otherwise the operator would recreate what is deleted with the namespace


async def _until(holds: Callable[[], Awaitable[bool]], *, timeout: float = 60) -> None:
    """Polls, since there is no event for a change of kube-proxy's rules on the node."""
    async with asyncio.timeout(timeout):
        while not await holds():  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.1)


@pytest.fixture
async def client(operator_pods: Cluster, kube: Kube) -> AsyncIterator[Client]:
    async with asleep(operator_pods, kube) as client:
        yield client


def at_zero(**spec: Any) -> Object:
    base: Object = {
        "model": {"uri": f"pvc://{NAME}/"},
        "engine": {"name": "llamacpp", "contextLength": 2048, "maxConcurrency": 1},
        "scaling": {"minReplicas": 0, "maxReplicas": 1, "idleAfter": "10s"},
        "pod": {"resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}}},
    }
    return llmdeployment(NAME, merged(base, spec))


async def until_replicas(kube: Kube, number: int, *, timeout: float = 90) -> None:
    await kube.wait_for("deployment", PREDICTOR, lambda found: found["spec"]["replicas"] == number, timeout=timeout)


async def test_all_requests_at_zero_get_equal_responses_and_later_ones_go_straight_to_the_replica(
    client: Client, kube: Kube
) -> None:
    texts = await asyncio.gather(*(client.text() for _ in range(20)))
    assert len(set(texts)) == 1
    assert texts[0]
    await client.until_direct()
    assert await client.text() == texts[0]


async def test_a_model_accepts_requests_as_soon_as_it_is_ready(operator_pods: Cluster, kube: Kube) -> None:
    access = FromTheNode(kube, operator_pods.entered)
    async with access.session() as session:

        async def accepts_at_once(name: str) -> bool:
            await kube.apply(llmdeployment(name, at_zero()["spec"]))
            await kube.wait_for_condition("llmdeployment", name, "Ready")
            return await Client(session, await access.url(name)).accepts()

        assert all(await asyncio.gather(*(accepts_at_once(f"model-{number}") for number in range(8))))


async def test_engine_status_and_keda_use_the_same_number_of_requests_per_replica(
    operator_pods: Cluster, kube: Kube
) -> None:
    async with asleep(operator_pods, kube, engine={"mode": "Balanced", "maxConcurrency": None}):
        found = await kube.get("deployment", PREDICTOR)
        autoscaler = await kube.wait_for("horizontalpodautoscaler", f"keda-hpa-{NAME}", lambda _: True)
        planned = (await kube.get("llmdeployment", NAME))["status"]["plan"]["maxConcurrency"]
    assert f"--parallel={planned}" in found["spec"]["template"]["spec"]["containers"][0]["args"]
    assert autoscaler["spec"]["metrics"][0]["external"]["target"]["averageValue"] == str(planned)


@pytest.mark.slow
async def test_an_idle_model_goes_to_sleep_and_wakes_again(client: Client, kube: Kube) -> None:
    text = await client.text()
    await until_replicas(kube, 0)
    assert await client.text() == text


async def test_requests_survive_the_deletion_of_the_pod_that_starts_for_them(client: Client, kube: Kube) -> None:
    requests = [asyncio.create_task(client.text()) for _ in range(5)]
    pod = await kube.wait_for_any("pods", OURS, lambda _: True)
    await kube.delete("pod", pod["metadata"]["name"])
    texts = await asyncio.gather(*requests)
    assert len(set(texts)) == 1


async def test_when_the_last_replica_fails_requests_are_held_even_while_the_operator_is_down(
    operator_pods: Cluster, client: Client, kube: Kube
) -> None:
    await client.until_direct()
    with without_operator(operator_pods):
        pod = await kube.wait_for_any("pods", OURS, lambda _: True)
        await kube.run("delete", "pod", pod["metadata"]["name"], "--force", "--grace-period=0")
        await _until(client.is_held)


@contextmanager
def without_operator(cluster: Cluster) -> Iterator[None]:
    def scale(replicas: int) -> None:
        cluster.run_kubectl(["scale", "deployment/slipway-operator", "-n", NAMESPACE, f"--replicas={replicas}"])

    scale(0)
    cluster.run_kubectl(["wait", "pods", "-n", NAMESPACE, "-l", OPERATOR_PODS, "--for=delete", "--timeout=60s"])
    try:
        yield
    finally:
        scale(2)
        cluster.run_kubectl(["rollout", "status", "-n", NAMESPACE, "deployment/slipway-operator", "--timeout=60s"])


async def test_a_held_stream_receives_what_it_waits_for(operator_pods: Cluster, kube: Kube) -> None:
    async with asleep(operator_pods, kube, scaling={"hold": {"heartbeat": "1s"}}) as client:
        answer = await client.ask(stream=True)
        lines = answer.body.splitlines()
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert any(line.startswith(": waking") for line in lines)
    assert "data: [DONE]" in lines


async def test_a_request_for_a_model_that_cannot_start_gets_the_reason(operator_pods: Cluster, kube: Kube) -> None:
    async with asleep(operator_pods, kube, model={"uri": f"pvc://{NAME}/nothing"}) as client:
        answer = await client.ask()
        error = json.loads(answer.body)["error"]
    assert answer.status == 503
    assert error["code"] not in ("HoldTimeout", "HoldFull")
    assert "gguf" in error["message"]


async def test_a_paused_model_is_not_woken_and_clients_get_the_reason(client: Client, kube: Kube) -> None:
    await kube.run("annotate", "llmdeployment", NAME, f"{PAUSED_ANNOTATION}=true")
    await kube.wait_for("llmdeployment", NAME, is_ready_because("Paused"))
    answer = await client.ask()
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (503, "Paused")
    await kube.never("pods", seconds=3)
    await kube.run("annotate", "llmdeployment", NAME, f"{PAUSED_ANNOTATION}-")
    await kube.wait_for("llmdeployment", NAME, is_ready_because("ScaledToZero"))
    assert await client.text()


async def test_a_model_whose_scaled_object_is_paused_is_not_woken_until_the_command_of_why_resumes_it(
    client: Client, kube: Kube
) -> None:
    await kube.run("annotate", "scaledobject", NAME, "autoscaling.keda.sh/paused-replicas=0")
    following = (await named_by_why(kube, "ScalingPaused", NAME))["next"]
    answer = await client.ask()
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (503, "ScalingPaused")
    woken = await llm(kube, "wake", NAME, "--yes")
    assert "No replica starts: The annotation autoscaling.keda.sh/paused-replicas" in woken.out + woken.err
    await kube.never("pods", seconds=3)
    assert (await shell(kube, following["command"])).code == 0
    await kube.wait_for("llmdeployment", NAME, is_ready_because("ScaledToZero"))
    assert await client.text()


async def test_a_paused_model_links_to_its_runbook_while_it_is_created(operator_pods: Cluster, kube: Kube) -> None:
    paused = at_zero()
    paused["metadata"]["annotations"] = {PAUSED_ANNOTATION: "true"}
    await kube.apply(paused)
    for reason in ("Updating", "Paused"):
        found = await kube.wait_for("llmdeployment", NAME, is_ready_because(reason))
        assert found["status"]["runbook"].endswith("/Paused.html")
    await kube.delete("llmdeployment", NAME, wait=True)


async def test_a_sleeping_model_whose_engine_is_changed_to_none_that_exists_refuses_at_once(
    client: Client, kube: Kube
) -> None:
    await kube.patch("llmdeployment", NAME, {"spec": {"engine": {"name": "nothing"}}})
    await kube.wait_for("llmdeployment", NAME, is_ready_because("RuntimeMissing"))
    await _until(client.hears_that_it_cannot_start)  # one that didn't know it yet would hold the request, and wake
    answer = await client.ask()
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (503, "RuntimeMissing")
    await kube.never("pods", seconds=3)
    await kube.patch("llmdeployment", NAME, {"spec": {"engine": {"name": "llamacpp"}}})
    await kube.wait_for("llmdeployment", NAME, is_ready_because("ScaledToZero"))
    assert await client.text()


async def test_an_annotation_wakes_a_model_without_any_request(client: Client, kube: Kube) -> None:
    await kube.run("annotate", "llmdeployment", NAME, f"{WAKE_ANNOTATION}={now()}")
    await kube.wait_for("llmdeployment", NAME, is_ready_because("Serving"))
    await client.until_direct()


@pytest.mark.slow
async def test_an_annotation_wakes_a_model_once(operator_pods: Cluster, client: Client, kube: Kube) -> None:
    await kube.run("annotate", "llmdeployment", NAME, f"{WAKE_ANNOTATION}={now()}")
    await kube.wait_for("llmdeployment", NAME, is_ready_because("Serving"))
    await until_replicas(kube, 0)
    operator_pods.run_kubectl(["rollout", "restart", "-n", NAMESPACE, "deployment"])
    for program in ("slipway-operator", "slipway-activator"):
        operator_pods.run_kubectl(["rollout", "status", "-n", NAMESPACE, f"deployment/{program}", "--timeout=120s"])
    await kube.never("pods", lambda pod: "deletionTimestamp" not in pod["metadata"], selector=OURS, seconds=10)


@pytest.mark.slow
async def test_an_annotation_sends_an_awake_model_to_sleep_and_loses_no_request(
    operator_pods: Cluster, kube: Kube
) -> None:
    async with asleep(operator_pods, kube, scaling={"idleAfter": "1h"}) as client:
        text = await client.text()
        requests = [asyncio.create_task(client.text()) for _ in range(3)]
        await kube.run("annotate", "llmdeployment", NAME, f"{SLEEP_ANNOTATION}={now()}")
        assert await asyncio.gather(*requests) == 3 * [text]
        await until_replicas(kube, 0)
        assert await client.text() == text


@pytest.mark.slow
async def test_an_annotation_that_is_not_a_time_is_reported(client: Client, kube: Kube) -> None:
    def is_reported(obj: Object) -> bool:
        return any("'soon' is not a time" in each for each in obj["status"]["plan"]["why"])

    await kube.run("annotate", "llmdeployment", NAME, f"{WAKE_ANNOTATION}=soon")
    await kube.wait_for("llmdeployment", NAME, is_reported)


def now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def is_ready_because(reason: str) -> Predicate:
    def is_so(obj: Object) -> bool:
        conditions = obj.get("status", {}).get("conditions", [])
        return any(each["type"] == "Ready" and each["reason"] == reason for each in conditions)

    return is_so
