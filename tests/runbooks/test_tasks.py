"""Tasks and scenarios: the commands of each page do what it says, and models serve afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from slipway_devcluster import lifecycle
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.slipway import INSTALLED_IMAGES
from support.builders.llmdeployments import NAME, OURS, merged
from support.builders.objects import Object, manifest
from support.cluster import (
    AnyCluster,
    Kube,
    Settings,
    folder_claimed,
    is_ready,
    until_settled,
)
from support.cluster.clusters import own_devcluster
from support.cluster.fixtures import kubectl_for
from support.faults.model_walks import client_of, namespace_with_models, walk_of
from support.faults.refusals import KEYS, SECRET, Client
from support.faults.runbook_faults import CLAIM, tiny
from support.monitoring.on_cluster import install_kinds
from support.pages.shell import Shell
from support.repository import in_checkout
from support.waiting import until

pytestmark = pytest.mark.slow

SERVES_WITHIN = 180.0
PROMPT: Object = {"prompt": "one", "max_tokens": 2}


@pytest.fixture(autouse=True)
def _checkout(shell: Shell) -> None:
    in_checkout(shell.home)


@pytest.fixture
async def kube(whole: Kube, models: Path) -> AsyncIterator[Kube]:
    """A namespace with the tiny models."""
    async with namespace_with_models(whole, models) as kube:
        yield kube


async def serving(kube: Kube, *objects: Object) -> Object:
    await kube.apply(*objects)
    return await until_settled(kube, NAME, "Serving", timeout=SERVES_WITHIN)


async def the_pod(kube: Kube) -> Object:
    return await kube.wait_for_any("pods", OURS, is_ready, timeout=SERVES_WITHIN)


# --- models ----------------------------------------------------------------------------------------------------------


async def test_keys_are_rotated(node: Cluster, kube: Kube, shell: Shell) -> None:
    keys = manifest("v1", "Secret", SECRET, stringData={"alice": KEYS["alice"]})
    await serving(kube, keys, tiny(access={"apiKeysSecret": SECRET}))
    walk = walk_of("rotate-api-keys", shell, kube, "A model with the key of one client.", SECRET=SECRET)
    async with client_of(node, kube) as client:
        assert (await client.send("/v1/completions", PROMPT, key=KEYS["alice"]))[0] == 200
        for part in ("Before", "Steps", "Check"):
            await walk.through(part)
        await until(lambda: is_refused(client, KEYS["alice"]), timeout=180)
        new = await kube.run("get", "secret", SECRET, "-o", "go-template={{.data.alice | base64decode}}")
        assert (await client.send("/v1/completions", PROMPT, key=new.strip()))[0] == 200
    walk.saw("The new key got 200 and the old one 401, without a restart.")
    walk.record()


async def is_refused(client: Client, key: str) -> bool:
    return await client.send("/v1/completions", PROMPT, key=key) == (401, "invalid_api_key")


async def test_a_model_is_rolled_back(kube: Kube, shell: Shell) -> None:
    await serving(kube, tiny())
    await kube.patch("llmdeployment", NAME, {"spec": {"engine": {"extraArgs": ["--chat-template={% for %}"]}}})
    await kube.wait_for(
        "llmdeployment", NAME, lambda it: "BadEngineArguments" in it["status"]["message"], timeout=SERVES_WITHIN
    )
    walk = walk_of("roll-back-a-model", shell, kube, "A change of `engine.extraArgs` that llama.cpp refuses.")
    for part in ("Before", "Steps", "Check"):
        await walk.through(part)
    await until_settled(kube, NAME, "Serving", timeout=SERVES_WITHIN)
    walk.saw("Serving with the former spec.")
    walk.record()


# --- the platform ----------------------------------------------------------------------------------------------------


async def test_models_serve_while_slipway_is_uninstalled(node: Cluster, kube: Kube, shell: Shell) -> None:
    await serving(kube, tiny())
    pod = await the_pod(kube)
    walk = walk_of(
        "uninstall-and-keep-models", shell, kube, "A model serves while Slipway is uninstalled and comes back."
    )
    for part in ("Before", "Steps", "Check"):
        await walk.through(part)
    await until_settled(kube, NAME, "Serving", timeout=SERVES_WITHIN)
    assert (await the_pod(kube))["metadata"]["uid"] == pod["metadata"]["uid"]
    walk.saw("The model's pod was the same all the time.")
    walk.record()


async def test_models_come_back_after_the_deletion_of_their_crd(kube: Kube, shell: Shell) -> None:
    await serving(kube, tiny())
    backup = walk_of("restore-from-nothing", shell, kube, "")
    await backup.through("Before")
    await kube.delete("customresourcedefinition", "llmdeployments.slipway.dev", wait=True)
    words = "The CRD of LLMDeployments is deleted while a model serves."
    walk = walk_of("recover-from-a-deleted-crd", shell, kube, words)
    for part in ("Before", "Steps", "Check"):
        await walk.through(part)
    await until_settled(kube, NAME, "Serving", timeout=SERVES_WITHIN)
    walk.saw("Serving again, with the spec of the backup.")
    walk.record()


async def test_models_come_back_on_a_new_cluster(
    cluster: AnyCluster,
    node: Cluster,
    kube: Kube,
    models: Path,
    shell: Shell,
    settings: Settings,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    keys = manifest("v1", "Secret", SECRET, stringData=KEYS)
    await serving(kube, keys, tiny(access={"apiKeysSecret": SECRET}))
    await kube.apply(merged(tiny(scaling={"minReplicas": 0}), {"metadata": {"name": "asleep"}}))
    walk = walk_of("restore-from-nothing", shell, kube, "Two models, a Secret and a profile, on a second devcluster.")
    await walk.through("Before")
    new = own_devcluster(cluster, settings)
    try:
        await asyncio.to_thread(lifecycle.up, new.name, cache=settings.cache, steps=settings.steps)
        await install_kinds(kubectl_for(new, tmp_path_factory))
        for image in INSTALLED_IMAGES:
            await asyncio.to_thread(image.loaded, new, settings.cache, settings.steps)
        walk.shell = Shell(shell.home, new.kubeconfig)
        await walk.through("Steps", "From the backup")
        there = kubectl_for(new, tmp_path_factory).within(kube.namespace)
        async with folder_claimed(there, CLAIM, models):
            await walk.through("Check")
            await walk.through("Check", "After the way of the backup")
            async with client_of(new, there) as client:
                assert (await client.send("/v1/completions", PROMPT, key=KEYS["alice"]))[0] == 200
    finally:
        await asyncio.to_thread(lifecycle.down, new.name, cache=settings.cache, steps=settings.steps)
    walk.saw("All specs were the same, and a request with the old key was answered.")
    walk.record()
