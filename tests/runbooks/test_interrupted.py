"""Requests to a replica whose pod is deleted while it has one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest
from slipway_devcluster import model
from slipway_devcluster.cluster import Cluster
from support.builders.llmdeployments import GEMMA_CLAIM, gemma
from support.builders.objects import Object
from support.cluster import FromTheNode, Kube, Settings, folder_claimed, own_namespace, until_settled
from support.faults.refusals import COMPLETIONS, Client
from support.monitoring.alert_walks import newest_pod
from support.pages.shell import Shell
from support.pages.walking import Walk, runbook
from support.waiting import until

pytestmark = pytest.mark.slow

NAME = "gemma"
PATIENCE = 300.0
SHORT: Object = {"prompt": "one", "max_tokens": 1}
LONG: Object = {"prompt": "1, 2, 3, 4,", "max_tokens": 900, "temperature": 0}


@dataclass(frozen=True)
class Replica:
    """The only replica of the demo model, and a client of its pod."""

    kube: Kube
    pod: str
    client: Client

    async def busy(self) -> asyncio.Task[tuple[int, str]]:
        """Returns a request that it has been computing for a moment."""
        request = self.client.send_and_wait(COMPLETIONS, LONG)
        await asyncio.sleep(2)
        assert not request.done(), "the request ended before it could be interrupted"
        return request

    async def deleted(self) -> None:
        await self.kube.run("delete", "pod", self.pod, "--wait=false")


Interrupted = Callable[[Replica], Awaitable[tuple[int, str]]]


async def ends_too_soon(replica: Replica) -> tuple[int, str]:
    request = await replica.busy()
    await replica.deleted()
    return await request


async def takes_no_more(replica: Replica) -> tuple[int, str]:
    """Another request to the same pod, while it finishes the first one."""
    await replica.busy()
    await replica.deleted()
    found = (200, "")

    async def is_refused() -> bool:
        nonlocal found
        found = await replica.client.send(COMPLETIONS, SHORT)
        return found[0] != 200

    await until(is_refused, timeout=30)
    return found


@pytest.fixture
async def replica(
    node: Cluster, whole: Kube, settings: Settings, request: pytest.FixtureRequest
) -> AsyncIterator[Replica]:
    drain = request.param
    weights = model.ensure_gguf(settings.cache, settings.steps)
    async with own_namespace(whole) as kube, folder_claimed(kube, GEMMA_CLAIM, weights):
        await kube.apply(gemma(min_replicas=1, rollout={"drainTimeout": drain}))
        await until_settled(kube, NAME, "Serving", timeout=PATIENCE)
        pod = await kube.get("pod", newest_pod(kube, NAME))
        async with FromTheNode(kube, node.entered).session() as session:
            client = Client(session, f"http://{pod['status']['podIP']}:8080")
            yield Replica(kube, pod["metadata"]["name"], client)
            await client.ended()
        await kube.run("delete", "llmdeployments", "--all")


@pytest.mark.parametrize(
    ("page", "fault", "interrupted", "status", "replica"),
    [
        (
            "cut_off",
            "A pod is deleted whose answer takes longer than its `drainTimeout` of 1 s.",
            ends_too_soon,
            503,
            "1s",
        ),
        ("draining", "A pod is deleted, and gets a request while it finishes another one.", takes_no_more, 503, "2m"),
    ],
    ids=("cut_off", "draining"),
    indirect=["replica"],
)
async def test_the_runbook_of_an_interrupted_request_says_what_one_sees(
    page: str, fault: str, interrupted: Interrupted, status: int, replica: Replica, shell: Shell
) -> None:
    walk = Walk(runbook(page), shell, {"NAMESPACE": replica.kube.namespace, "NAME": NAME, "POD": replica.pod}, fault)
    assert await interrupted(replica) == (status, page)
    walk.saw(f"The client got {status}.")
    await walk.through("Diagnosis")
    await until_settled(replica.kube, NAME, "Serving", timeout=PATIENCE)
    walk.saw("Serving again, by a new replica.")
    walk.record()
