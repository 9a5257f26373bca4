"""The management port of process 1, under requests of an attacker who wants the pod to be restarted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from slipway_runtime.supervisor.management import MOST_CONNECTIONS
from support.programs.supervised_pod import SupervisedPod


@pytest.fixture
async def pod(tmp_path: Path) -> AsyncIterator[SupervisedPod]:
    async with aiohttp.ClientSession() as http:
        pod = SupervisedPod(tmp_path, http)
        await pod.start()
        await pod.until_ready()
        yield pod
        await pod.kill()


async def test_under_very_many_connections_the_oldest_are_closed_and_probes_get_responses(pod: SupervisedPod) -> None:
    streams = [await asyncio.open_connection("127.0.0.1", pod.port) for _ in range(3 * MOST_CONNECTIONS)]
    oldest, _ = streams[0]
    assert await oldest.read() == b""
    assert (await pod.get("/livez"))[0] == 200
    for _, writer in streams:
        writer.close()


async def test_concurrent_metrics_requests_query_the_engine_once(pod: SupervisedPod) -> None:
    before = await queries_of_the_engine(pod)
    await asyncio.gather(*(pod.get("/metrics") for _ in range(50)))
    assert await queries_of_the_engine(pod) - before < 25


async def queries_of_the_engine(pod: SupervisedPod) -> int:
    _, text = await pod.get("/metrics")
    [sample] = [line for line in text.splitlines() if line.startswith("fake:asked_total")]
    return int(float(sample.rpartition(" ")[2]))
