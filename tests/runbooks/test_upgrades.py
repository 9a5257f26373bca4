"""Upgrades of Slipway, KServe and KEDA, each from a version to another one, under a model that serves or sleeps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.components import SLIPWAY_NAMESPACE
from slipway_devcluster.slipway import INSTALLED_IMAGES
from support.builders.llmdeployments import NAME, OURS
from support.builders.objects import Object
from support.cluster import Kube, Settings, is_ready, until_settled
from support.cluster.kserve_versions import OLDER, USUAL, install_kserve
from support.cluster.previous_release import TAG, VERSION, previous, tag_image
from support.cluster.releases import RELEASE, rolled_out
from support.faults.model_walks import namespace_with_models, walk_of
from support.faults.runbook_faults import tiny
from support.monitoring.installed import install, quick_alerts
from support.pages.shell import Shell
from support.repository import CHARTS, in_checkout

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200, func_only=True)]

KEDA = "keda"
PATIENCE = 180.0


@pytest.fixture
async def kube(whole: Kube, models: Path) -> AsyncIterator[Kube]:
    """A namespace with the tiny models."""
    async with namespace_with_models(whole, models) as kube:
        yield kube


@pytest.fixture(autouse=True)
def _checkout(shell: Shell) -> None:
    in_checkout(shell.home)


async def the_pod(kube: Kube) -> Object:
    return await kube.wait_for_any("pods", OURS, is_ready, timeout=PATIENCE)


# --- Slipway ---------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def previous_release(node: Cluster, whole: Kube, settings: Settings, folder: Path) -> AsyncGenerator[None]:
    """An older Slipway during the block. Images have the versions of their charts as tags, as released ones do."""
    found = await asyncio.to_thread(previous, node, settings, folder)
    current = yaml.safe_load((CHARTS / "slipway/Chart.yaml").read_text())["appVersion"]
    for image in INSTALLED_IMAGES:
        tag_image(node, image.name, current)
        tag_image(node, f"{image.name.rpartition(':')[0]}:{TAG}", VERSION)
    command = ["upgrade", *RELEASE, str(found.chart), "--reset-values", "--values=-"]
    await asyncio.to_thread(node.run_helm, command, json.dumps(quick_alerts()).encode())
    await rolled_out(whole.within(SLIPWAY_NAMESPACE))
    try:
        yield
    finally:
        await asyncio.to_thread(install, node, whole, settings)


async def test_slipway_is_upgraded_under_a_model_that_serves(
    node: Cluster, whole: Kube, kube: Kube, shell: Shell, settings: Settings, tmp_path: Path
) -> None:
    async with previous_release(node, whole, settings, tmp_path):
        await kube.apply(tiny())
        await until_settled(kube, NAME, "Serving", timeout=PATIENCE)
        pod = await the_pod(kube)
        fault = "A version is replaced by the next while a model serves, and comes back by a rollback."
        walk = walk_of("upgrade-slipway", shell, kube, fault)
        for part in ("Before", "Steps", "Check"):
            await walk.through(part)
        assert (await the_pod(kube))["metadata"]["uid"] == pod["metadata"]["uid"]
        walk.saw("The model's pod was the same after the upgrade.")
        await kube.wait_for("llmdeployment", NAME, lambda it: "update" in it["status"])
        await walk.through("Check", "Roll that out")
        await kube.wait_for("llmdeployment", NAME, lambda it: "update" not in it["status"], timeout=PATIENCE)
        await kube.wait_gone("pod", pod["metadata"]["name"], timeout=PATIENCE)
        await until_settled(kube, NAME, "Serving", timeout=PATIENCE)
        pod = await the_pod(kube)
        await walk.through("If it goes wrong")
        assert (await the_pod(kube))["metadata"]["uid"] == pod["metadata"]["uid"]
        walk.saw("It was replaced once it was rolled out, and not by the rollback.")
        walk.record()


# --- KServe and KEDA -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def older_kserve(node: Cluster, whole: Kube, settings: Settings) -> AsyncGenerator[str]:
    """The older version during the block, as far as the test doesn't upgrade it."""
    version = await install_kserve(OLDER, node, whole, settings)
    try:
        yield version
    finally:
        await install_kserve(USUAL, node, whole, settings)


async def test_kserve_is_upgraded_under_a_model_that_serves(
    node: Cluster, whole: Kube, kube: Kube, shell: Shell, settings: Settings
) -> None:
    async with older_kserve(node, whole, settings) as before:
        await kube.apply(tiny())
        await until_settled(kube, NAME, "Serving", timeout=PATIENCE)
        pod = await the_pod(kube)
        walk = walk_of("upgrade-kserve", shell, kube, "")
        await walk.through("Before")
        now = await install_kserve(USUAL, node, whole, settings)
        walk.fault = f"KServe {before} is replaced by {now} while a model serves."
        await walk.through("Steps")
        await walk.through("Check")
        assert (await the_pod(kube))["metadata"]["uid"] == pod["metadata"]["uid"]
    walk.saw("The model kept its pod.")
    walk.record()


async def test_keda_is_restarted_under_a_model_that_sleeps(whole: Kube, kube: Kube, shell: Shell) -> None:
    """In the same version: no other one is built."""
    await kube.apply(tiny(scaling={"minReplicas": 0}))
    await until_settled(kube, NAME, "Idle", timeout=PATIENCE)
    fault = "All programs of KEDA are replaced, by the same version, while a model sleeps."
    walk = walk_of("upgrade-keda", shell, kube, fault, KEDA_NAMESPACE=KEDA)
    await walk.through("Before")
    await whole.within(KEDA).run("rollout", "restart", "deployment")
    await walk.through("Steps")
    await walk.through("Check")
    walk.saw("The model woke.")
    walk.record()
