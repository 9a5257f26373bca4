"""While 50 requests are held and 10 stream, a part fails: each request gets the response that a direct call gets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from slipway_devcluster.cluster import Cluster
from support.builders.llmdeployments import GEMMA_CLAIM, sleeping_model
from support.cluster import Kube
from support.faults.slipway_pods import PodFaults, own_url
from support.faults.two_models import STREAMS, TwoModels
from support.load.sleeping_models import sleeping_models

pytestmark = pytest.mark.timeout(900, func_only=True)


@pytest.fixture
async def scene(operator_pods: Cluster, gemma: Kube) -> AsyncIterator[TwoModels]:
    models = sleeping_model("awake", at_once=STREAMS), sleeping_model("asleep")
    async with sleeping_models(operator_pods, gemma, *models) as (awake, asleep):
        yield TwoModels(PodFaults(operator_pods, gemma), awake, asleep)


# --- parts outside the data path -------------------------------------------------------------------------------------


async def test_nothing_is_lost_when_the_operators_leader_is_killed(scene: TwoModels) -> None:
    async with scene.under_way():
        await scene.breaking.crash(await scene.breaking.leader())
    await scene.nothing_is_lost()


async def test_nothing_is_lost_when_kedas_operator_is_killed(scene: TwoModels) -> None:
    async with scene.under_way():
        await scene.breaking.crash(await scene.breaking.keda())
    await scene.nothing_is_lost()


async def test_nothing_is_lost_when_the_api_server_is_restarted(scene: TwoModels) -> None:
    async with scene.under_way():
        await scene.breaking.restart_api_server()
    await scene.nothing_is_lost()


async def test_nothing_is_lost_when_the_scaled_object_is_deleted(scene: TwoModels) -> None:
    async with scene.under_way():
        await asyncio.gather(*map(scene.breaking.delete_scaled_object, scene.both))
    await scene.nothing_is_lost()


async def test_nothing_is_lost_when_the_extra_slice_is_deleted(scene: TwoModels) -> None:
    async with scene.under_way():
        await asyncio.gather(*map(scene.breaking.delete_slice, scene.both))
    await scene.nothing_is_lost()


# --- an activator ----------------------------------------------------------------------------------------------------


async def test_a_killed_activator_loses_only_its_own_connections_and_retries_succeed(
    scene: TwoModels,
) -> None:
    killed, other = await scene.breaking.activators()
    urls = {each.name: [await own_url(each, pod) for pod in (killed, other)] for each in scene.both}
    async with scene.under_way(urls=urls, tries=10):
        await scene.breaking.crash(killed)
    asked_again = [each for each in (*scene.streams.requests, *scene.held.requests) if each.tries > 1]
    assert asked_again
    assert all(each.number % 2 == 0 for each in asked_again), "those of the other activator continue"
    await scene.nothing_is_lost()


# --- the models' pods ------------------------------------------------------------------------------------------------


async def test_nothing_is_lost_when_the_pod_that_wakes_is_killed_twice(scene: TwoModels) -> None:
    killed: list[str] = []
    async with scene.under_way():
        for _ in range(2):
            pod = await scene.asleep.pod(but=killed)
            await scene.breaking.kill(pod)
            killed.append(pod["metadata"]["uid"])
    await scene.nothing_is_lost()


async def test_nothing_is_lost_when_the_engine_crashes_while_it_wakes(scene: TwoModels) -> None:
    async with scene.under_way():
        await scene.breaking.crash(await scene.asleep.pod())
    await scene.nothing_is_lost()


async def test_nothing_is_lost_when_the_deployments_are_scaled_to_zero(scene: TwoModels) -> None:
    async with scene.under_way():
        await asyncio.gather(*map(scene.breaking.scale_to_zero, scene.both))
    await scene.nothing_is_lost()


async def test_nothing_is_lost_when_the_pods_are_evicted(scene: TwoModels) -> None:
    async with scene.under_way():
        for each in scene.both:
            await scene.breaking.evict(await each.pod())
    await scene.nothing_is_lost()


@pytest.mark.parametrize("strategy", ["Surge", "Recreate"])
async def test_nothing_is_lost_when_a_new_version_is_rolled_out(scene: TwoModels, strategy: str) -> None:
    for each in scene.both:
        await each.change(rollout={"strategy": strategy})
    async with scene.under_way():
        old = {(await each.pod())["metadata"]["uid"] for each in scene.both}
        await asyncio.gather(*(each.change(engine={"contextLength": 640}) for each in scene.both))
        for each in scene.both:
            await each.pod(but=old)
    await scene.nothing_is_lost()


async def test_held_clients_get_the_error_of_a_broken_version_and_the_old_one_keeps_serving(scene: TwoModels) -> None:
    nowhere = {
        "slipway.dev/node": "nowhere"
    }  # otherwise the previous version may become ready before it is changed, and respond
    await scene.asleep.change(pod={"nodeSelector": nowhere})
    await scene.asleep.kube.wait_for(
        "deployment",
        scene.asleep.predictor,
        lambda found: found["spec"]["template"]["spec"].get("nodeSelector") == nowhere,
        timeout=60,
    )
    broken = {"uri": f"pvc://{GEMMA_CLAIM}/nothing"}
    async with scene.under_way():
        await asyncio.gather(
            scene.awake.change(model=broken), scene.asleep.change(model=broken, pod={"nodeSelector": None})
        )
    assert not [*map(str, await scene.streams.wrong())]
    errors = [json.loads(each.error.partition(": ")[2])["error"] for each in scene.held.requests if each.error]
    assert len(errors) == len(scene.held.requests)
    assert {each["code"] for each in errors} == {"ModelNotFound"}
    assert all("gguf" in each["message"] for each in errors)
    assert (await scene.awake.send(0)).text
