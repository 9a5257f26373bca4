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
async def models(operator_pods: Cluster, gemma: Kube) -> AsyncIterator[TwoModels]:
    specs = sleeping_model("awake", at_once=STREAMS), sleeping_model("asleep")
    async with sleeping_models(operator_pods, gemma, *specs) as (awake, asleep):
        yield TwoModels(PodFaults(operator_pods, gemma), awake, asleep)


# --- parts outside the data path -------------------------------------------------------------------------------------


async def test_nothing_is_lost_when_the_operators_leader_is_killed(models: TwoModels) -> None:
    async with models.under_way():
        await models.breaking.crash(await models.breaking.leader())
    await models.nothing_is_lost()


async def test_nothing_is_lost_when_kedas_operator_is_killed(models: TwoModels) -> None:
    async with models.under_way():
        await models.breaking.crash(await models.breaking.keda())
    await models.nothing_is_lost()


async def test_nothing_is_lost_when_the_api_server_is_restarted(models: TwoModels) -> None:
    async with models.under_way():
        await models.breaking.restart_api_server()
    await models.nothing_is_lost()


async def test_nothing_is_lost_when_the_scaled_object_is_deleted(models: TwoModels) -> None:
    async with models.under_way():
        await asyncio.gather(*map(models.breaking.delete_scaled_object, models.both))
    await models.nothing_is_lost()


async def test_nothing_is_lost_when_the_extra_slice_is_deleted(models: TwoModels) -> None:
    async with models.under_way():
        await asyncio.gather(*map(models.breaking.delete_slice, models.both))
    await models.nothing_is_lost()


# --- an activator ----------------------------------------------------------------------------------------------------


async def test_a_killed_activator_loses_only_its_own_connections_and_retries_succeed(
    models: TwoModels,
) -> None:
    killed, other = await models.breaking.activators()
    urls = {each.name: [await own_url(each, pod) for pod in (killed, other)] for each in models.both}
    async with models.under_way(urls=urls, tries=10):
        await models.breaking.crash(killed)
    retried = [each for each in (*models.streams.requests, *models.held.requests) if each.tries > 1]
    assert retried
    assert all(each.number % 2 == 0 for each in retried), "those of the other activator continue"
    await models.nothing_is_lost()


# --- the models' pods ------------------------------------------------------------------------------------------------


async def test_nothing_is_lost_when_the_pod_that_wakes_is_killed_twice(models: TwoModels) -> None:
    killed: list[str] = []
    async with models.under_way():
        for _ in range(2):
            pod = await models.asleep.pod(but=killed)
            await models.breaking.kill(pod)
            killed.append(pod["metadata"]["uid"])
    await models.nothing_is_lost()


async def test_nothing_is_lost_when_the_engine_crashes_while_it_wakes(models: TwoModels) -> None:
    async with models.under_way():
        await models.breaking.crash(await models.asleep.pod())
    await models.nothing_is_lost()


async def test_nothing_is_lost_when_the_deployments_are_scaled_to_zero(models: TwoModels) -> None:
    async with models.under_way():
        await asyncio.gather(*map(models.breaking.scale_to_zero, models.both))
    await models.nothing_is_lost()


async def test_nothing_is_lost_when_the_pods_are_evicted(models: TwoModels) -> None:
    async with models.under_way():
        for each in models.both:
            await models.breaking.evict(await each.pod())
    await models.nothing_is_lost()


@pytest.mark.parametrize("strategy", ["Surge", "Recreate"])
async def test_nothing_is_lost_when_a_new_version_is_rolled_out(models: TwoModels, strategy: str) -> None:
    for each in models.both:
        await each.change(rollout={"strategy": strategy})
    async with models.under_way():
        old = {(await each.pod())["metadata"]["uid"] for each in models.both}
        await asyncio.gather(*(each.change(engine={"contextLength": 640}) for each in models.both))
        for each in models.both:
            await each.pod(but=old)
    await models.nothing_is_lost()


async def test_held_clients_get_the_error_of_a_broken_version_and_the_old_one_keeps_serving(models: TwoModels) -> None:
    unschedulable = {
        "slipway.dev/node": "nowhere"
    }  # otherwise the previous version may become ready before it is changed, and respond
    await models.asleep.change(pod={"nodeSelector": unschedulable})
    await models.asleep.kube.wait_for(
        "deployment",
        models.asleep.predictor,
        lambda found: found["spec"]["template"]["spec"].get("nodeSelector") == unschedulable,
        timeout=60,
    )
    broken = {"uri": f"pvc://{GEMMA_CLAIM}/nothing"}
    async with models.under_way():
        await asyncio.gather(
            models.awake.change(model=broken), models.asleep.change(model=broken, pod={"nodeSelector": None})
        )
    assert not [*map(str, await models.streams.wrong())]
    errors = [json.loads(each.error.partition(": ")[2])["error"] for each in models.held.requests if each.error]
    assert len(errors) == len(models.held.requests)
    assert {each["code"] for each in errors} == {"ModelNotFound"}
    assert all("gguf" in each["message"] for each in errors)
    assert (await models.awake.send(0)).text
