"""Weights on a claim that two real nodes share: fetched once, whatever happens to the one that fetches them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from slipway_devcluster.addresses import FIRST, Node
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.slipway import FETCHER_IMAGE
from slipway_devcluster.volumes import SHARED_CLASS
from support.builders import objects
from support.cluster import Kube, Settings, own_namespace
from support.cluster.fixtures import kubectl_for
from support.cluster.pods import phase
from support.cluster.reachable_hub import hub_for_pods
from support.cluster.tester import ReachableServer
from support.fakes.hub import FakeHub, Repository
from support.faults.components import crash, without, without_power
from support.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400, func_only=True)]

SECOND = Node(2)
SIZE = 128 << 20
RATE = SIZE / 8  # bytes a second: a download takes 8 s
HALF = SIZE // 2
AT_MOST = 1.25 * SIZE
"""Bytes of a download that was broken after its half. A connection notes what it has every 16 MiB, so that much arrives
twice, besides what is in buffers; a download from the start would need 1.5 times the size."""


@dataclass
class Downloads:
    """Pods that fetch one model into one claim."""

    kube: Kube
    hub: FakeHub
    endpoint: str

    async def start(self, node: str, name: str = "") -> None:
        arguments = ["hf://org/model", "/weights/model", f"--endpoint={self.endpoint}", "--connections=1"]
        container = {
            "args": [*arguments, "--progress-every=1"],
            "volumeMounts": [{"name": "weights", "mountPath": "/weights"}],
        }
        volume = {"name": "weights", "persistentVolumeClaim": {"claimName": "weights"}}
        pod = objects.pod(
            name or node,
            FETCHER_IMAGE.name,
            [],
            container=container,
            nodeSelector={"kubernetes.io/hostname": node},
            restartPolicy="OnFailure",
            volumes=[volume],
        )
        await self.kube.apply(pod)

    async def half_way(self) -> None:
        await until(lambda: self.has_sent(HALF), timeout=90)

    async def has_sent(self, number: int) -> bool:
        return self.hub.sent >= number

    async def ended(self, name: str) -> list[dict[str, Any]]:
        """What it printed."""
        await self.kube.wait_for("pod", name, lambda pod: phase(pod) == "Succeeded", timeout=120)
        return [json.loads(line) for line in (await self.kube.logs(name)).splitlines()]


@pytest.fixture(scope="module")
def whole(two_nodes: Cluster, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Kube:
    FETCHER_IMAGE.loaded(two_nodes, settings.cache, settings.steps)
    return kubectl_for(two_nodes, tmp_path_factory)


@pytest.fixture
async def downloads(whole: Kube, two_nodes: Cluster) -> AsyncIterator[Downloads]:
    """A hub that sends slowly, and a claim of which both nodes have the volume."""
    tester = ReachableServer(two_nodes.node_ip, two_nodes.entered)
    claim = objects.claim("weights", storage="1Gi", storageClassName=SHARED_CLASS, accessModes=["ReadWriteMany"])
    async with hub_for_pods(tester, model=Repository({"model.safetensors": bytes(SIZE)})) as server:
        server.rate = RATE
        async with own_namespace(whole) as kube:
            await kube.apply(claim)
            yield Downloads(kube, server, server.url)


def events(lines: list[dict[str, Any]]) -> list[str]:
    return [line["event"] for line in lines]


async def test_two_nodes_at_once_fetch_once_and_the_other_one_says_for_whom_it_waits(downloads: Downloads) -> None:
    for node in (FIRST.name, SECOND.name):
        await downloads.start(node)
    printed = {node: await downloads.ended(node) for node in (FIRST.name, SECOND.name)}
    assert downloads.hub.sent == SIZE
    fetched = next(node for node in printed if "fetched" in events(printed[node]))
    [waited] = [node for node in printed if node != fetched]
    assert events(printed[waited])[-1] == "present"
    assert any((line.get("waiting") or "").startswith(f"{fetched} ") for line in printed[waited])


async def test_a_pod_on_the_other_node_fetches_nothing_and_needs_no_server(downloads: Downloads) -> None:
    downloads.hub.rate = float("inf")
    await downloads.start(FIRST.name)
    await downloads.ended(FIRST.name)
    downloads.hub.sent = 0
    downloads.hub.requests.clear()
    await downloads.start(SECOND.name)
    assert events(await downloads.ended(SECOND.name)) == ["present"]
    assert (downloads.hub.sent, downloads.hub.requests) == (0, [])


async def test_a_killed_download_goes_on_where_it_was(downloads: Downloads, two_nodes: Cluster) -> None:
    await downloads.start(SECOND.name)
    await downloads.half_way()
    await crash(two_nodes, await downloads.kube.get("pod", SECOND.name))
    await downloads.ended(SECOND.name)
    assert SIZE <= downloads.hub.sent < AT_MOST


async def test_when_the_node_that_fetches_loses_its_power_the_other_one_goes_on(
    downloads: Downloads, two_nodes: Cluster
) -> None:
    await downloads.start(SECOND.name)
    await downloads.half_way()
    await downloads.start(FIRST.name)
    async with without_power(two_nodes, SECOND.name):
        assert events(await downloads.ended(FIRST.name))[-1] == "fetched"
        assert SIZE <= downloads.hub.sent < AT_MOST
    assert events(await downloads.ended(SECOND.name)) == ["present"]
    assert downloads.hub.sent < AT_MOST


async def test_a_download_goes_on_while_the_kubelet_is_down(downloads: Downloads, two_nodes: Cluster) -> None:
    await downloads.start(SECOND.name)
    await downloads.half_way()
    async with without(two_nodes, "kubelet.slipway-2", killed=True):
        await until(lambda: downloads.has_sent(SIZE), timeout=60)
        await downloads.start(FIRST.name)
        assert events(await downloads.ended(FIRST.name))[-1] == "present"
    await downloads.ended(SECOND.name)
    assert downloads.hub.sent == SIZE
