"""Slipway is upgraded, rolled back, uninstalled and installed again while models serve, sleep and wake: none of their
pods restarts, and no request is lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from slipway_devcluster import model
from slipway_devcluster import slipway as installation
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.components import SLIPWAY_NAMESPACE
from support.builders.llmdeployments import GEMMA_CLAIM, sleeping_model
from support.cluster import Kube, Object, Settings, folder_claimed
from support.cluster.previous_release import VERSION, Previous
from support.cluster.previous_release import previous as previous_one
from support.cluster.releases import KEEPS_NO_OLD_RUNTIME, RELEASE, helm, rolled_out, with_values
from support.faults.slipway_pods import PodFaults
from support.faults.two_models import STREAMS, TwoModels
from support.load.sleeping_models import SleepingModel, sleeping_models

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600, func_only=True)]

Templates = dict[str, Any]


@pytest.fixture(scope="module")
def previous(
    operator_pods: Cluster, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Previous]:
    yield previous_one(operator_pods, settings, tmp_path_factory.mktemp("previous"))
    installation.install(operator_pods, cache=settings.cache, steps=settings.steps)


@pytest.fixture
async def models(
    operator_pods: Cluster, previous: Previous, neighbour_kube: Kube, settings: Settings
) -> AsyncIterator[TwoModels]:
    """Two models that the older version created."""
    await install(operator_pods, neighbour_kube, previous)
    weights = model.ensure_gguf(settings.cache, settings.steps)
    specs = (
        sleeping_model("awake", at_once=STREAMS, scaling={"idleAfter": "10m"}),
        sleeping_model("asleep", scaling={"idleAfter": "15s"}),
    )
    async with (
        folder_claimed(neighbour_kube, GEMMA_CLAIM, weights),
        sleeping_models(operator_pods, neighbour_kube, *specs) as (awake, asleep),
    ):
        yield TwoModels(PodFaults(operator_pods, neighbour_kube), awake, asleep)


async def install(cluster: Cluster, kube: Kube, previous: Previous) -> None:
    command = ["upgrade", "--install", *RELEASE, str(previous.chart), "--take-ownership", "--values=-"]
    values = json.dumps(previous.values).encode()
    await asyncio.to_thread(cluster.run_helm, command, values)
    await rolled_out(kube.within(SLIPWAY_NAMESPACE))


async def upgrade(models: TwoModels, settings: Settings) -> None:
    """Installs this version as the devcluster does."""
    cluster = models.breaking.cluster
    await asyncio.to_thread(installation.install, cluster, cache=settings.cache, steps=settings.steps)


async def templates(models: TwoModels) -> Templates:
    """The pod templates that KServe writes: a changed one restarts the pods."""
    found = [await each.kube.get("deployment", each.predictor) for each in models.both]
    return {each["metadata"]["name"]: each["spec"]["template"] for each in found}


def has_update(obj: Object) -> bool:
    return bool(obj.get("status", {}).get("update"))


async def runtime_of(model: SleepingModel) -> str:
    found = await model.kube.get("inferenceservice", model.name)
    return str(found["spec"]["predictor"]["model"]["runtime"])


async def version_of(model: SleepingModel) -> str:
    found = await model.kube.get("llmdeployment", model.name)
    return str(found["status"]["made"]["version"])


async def test_an_upgrade_and_its_rollback_restart_no_model_and_lose_no_request(
    models: TwoModels, settings: Settings
) -> None:
    before = await templates(models)
    async with models.under_way():
        pod = await models.awake.pod()
        await upgrade(models, settings)
        for each in models.both:
            deployment = await each.kube.wait_for("llmdeployment", each.name, has_update)
            what = "; ".join(deployment["status"]["update"]["changes"])
            assert f"predictor.model.runtime: slipway-llamacpp-{VERSION}-" in what
            assert "predictor.model.args: --drain-limit=121 goes" in what
    await models.nothing_is_lost()
    assert await templates(models) == before
    assert (await models.awake.pod())["metadata"]["uid"] == pod["metadata"]["uid"]
    assert await version_of(models.asleep) == VERSION

    await models.asleep.until_replicas(0)
    async with models.under_way():
        await helm(models.breaking.cluster, "rollback", *RELEASE)
        await rolled_out(models.breaking.slipway)
    await models.nothing_is_lost()
    assert await templates(models) == before


async def test_a_model_is_updated_on_request_and_loses_no_request(models: TwoModels, settings: Settings) -> None:
    """Unused runtimes are deleted then."""
    older = {await runtime_of(each) for each in models.both}
    await upgrade(models, settings)
    async with models.under_way():
        pod = await models.awake.pod()
        for each in models.both:
            await each.kube.wait_for("llmdeployment", each.name, has_update)
            await each.kube.run("annotate", "llmdeployment", each.name, "slipway.dev/sync=now")
        await models.awake.pod(but=[pod["metadata"]["uid"]])
    await models.nothing_is_lost()
    for each in models.both:
        assert await version_of(each) != VERSION
        found = await each.kube.get("llmdeployment", each.name)
        assert "update" not in found["status"]
        assert await runtime_of(each) not in older
    home = models.breaking.slipway
    async with with_values(models.breaking.cluster, home, *KEEPS_NO_OLD_RUNTIME):
        for name in older:
            await home.wait_gone("clusterservingruntime", name)


async def test_models_keep_serving_without_slipway_and_are_adopted_again(models: TwoModels, settings: Settings) -> None:
    async with models.under_way():
        pass
    before, pod = await templates(models), await models.awake.pod()
    await helm(models.breaking.cluster, "uninstall", *RELEASE, "--wait")
    assert (await models.awake.send(1)).status == 200
    await upgrade(models, settings)
    for each in models.both:
        await each.kube.wait_for("llmdeployment", each.name, has_update)
    assert await templates(models) == before
    assert (await models.awake.pod())["metadata"]["uid"] == pod["metadata"]["uid"]
