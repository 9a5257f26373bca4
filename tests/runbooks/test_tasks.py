"""Tasks and scenarios: the commands of each page do what it says, and models serve afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from slipway_devcluster import lifecycle
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.slipway import INSTALLED_IMAGES
from support.builders.llmdeployments import NAME, OURS, at_zero, merged, on_own_engine, own_runtime
from support.builders.objects import Object, manifest
from support.cluster import (
    AnyCluster,
    FromTheNode,
    Kube,
    Settings,
    folder_claimed,
    is_ready,
    own_namespace,
    until_settled,
)
from support.cluster.clusters import own_devcluster
from support.cluster.fixtures import kubectl_for
from support.cluster.nodes import made_up_node
from support.faults.platform_faults import cordoned
from support.faults.refusals import KEYS, SECRET, Client
from support.faults.runbook_faults import CLAIM, FACTS, tiny
from support.pages.shell import Shell
from support.pages.walking import Walk, runbook
from support.repository import in_checkout
from support.waiting import until

pytestmark = pytest.mark.slow

SERVES_WITHIN = 180.0
PROMPT: Object = {"prompt": "one", "max_tokens": 2}
KEDA_PAUSED = "autoscaling.keda.sh/paused"


@pytest.fixture(autouse=True)
def _checkout(shell: Shell) -> None:
    in_checkout(shell.home)


@pytest.fixture
async def kube(whole: Kube, models: Path) -> AsyncIterator[Kube]:
    """A namespace with the tiny models."""
    async with own_namespace(whole) as kube, folder_claimed(kube, CLAIM, models):
        yield kube
        with suppress(Exception):
            await kube.run("delete", "llmdeployments", "--all")


def walk_of(page: str, shell: Shell, kube: Kube, fault: str, **values: str) -> Walk:
    return Walk(runbook(page), shell, {"NAMESPACE": kube.namespace, "NAME": NAME, **values}, fault)


async def serving(kube: Kube, *objects: Object) -> Object:
    await kube.apply(*objects)
    return await until_settled(kube, NAME, "Serving", timeout=SERVES_WITHIN)


async def the_pod(kube: Kube) -> Object:
    return await kube.wait_for_any("pods", OURS, is_ready, timeout=SERVES_WITHIN)


@asynccontextmanager
async def client_of(node: Cluster, kube: Kube) -> AsyncGenerator[Client]:
    access = FromTheNode(kube, node.entered)
    async with access.session() as session:
        yield Client(session, await access.url(NAME))


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


async def test_a_model_that_does_not_wake_is_woken(node: Cluster, kube: Kube, shell: Shell) -> None:
    await kube.apply(tiny(scaling={"minReplicas": 0}))
    await until_settled(kube, timeout=90)
    await kube.run("annotate", "scaledobject", NAME, f"{KEDA_PAUSED}=true")
    walk = walk_of("model-does-not-wake", shell, kube, "Another program has paused the ScaledObject of the model.")
    async with client_of(node, kube) as client:
        held = asyncio.create_task(client.send("/v1/completions", PROMPT))
        await walk.through("Diagnosis")
        await walk.through("Mitigation")
        assert (await held)[0] == 200
    walk.saw("The request that had been held was answered.")
    walk.record()


async def test_a_model_that_never_sleeps_goes_to_sleep(node: Cluster, kube: Kube, shell: Shell) -> None:
    await serving(kube, tiny(scaling={"minReplicas": 0, "initialReplicas": 1, "idleAfter": "10s"}))
    pod = (await the_pod(kube))["metadata"]["name"]
    words = "A probe that sends a completion every second, and `idleAfter: 10s`."
    walk = walk_of("model-never-sleeps", shell, kube, words, POD=pod)
    async with client_of(node, kube) as client:
        probe = asyncio.create_task(probing(client))
        await asyncio.sleep(20)
        assert await kube.select("pods", OURS)
        await walk.through("Diagnosis")
        probe.cancel()
        await walk.through("Mitigation")
    await until_settled(kube, NAME, "Idle", timeout=SERVES_WITHIN)
    walk.saw("Idle, once the probe had stopped.")
    walk.record()


async def probing(client: Client) -> None:
    while True:
        await client.send("/v1/completions", PROMPT)
        await asyncio.sleep(1)


async def test_a_model_moves_to_another_accelerator(kube: Kube, shell: Shell) -> None:
    spec = {"model": {"uri": f"pvc://{CLAIM}/good", "facts": FACTS}, "engine": {"name": "vllm"}}
    await kube.apply(at_zero(**spec, scaling={"minReplicas": 1}, accelerator={"profiles": ["l4"]}))
    await kube.wait_for("llmdeployment", NAME, lambda it: bool(it.get("status", {}).get("replicas", {}).get("ready")))
    words = "A model on a simulated L4 of the devcluster is moved to a simulated H100."
    walk = walk_of("move-to-another-accelerator", shell, kube, words, PROFILE="h100-80gb")
    for part in ("Before", "Steps", "Check"):
        await walk.through(part)
    walk.saw("The new pod is on the other node, and the old one was removed after it was ready.")
    walk.record()


# --- nodes -----------------------------------------------------------------------------------------------------------


async def test_a_node_is_drained(kube: Kube, shell: Shell) -> None:
    await serving(kube, tiny())
    node = (await the_pod(kube))["spec"]["nodeName"]
    walk = walk_of("drain-a-node", shell, kube, "The only node for this model is drained, and comes back.", NODE=node)
    try:
        for part in ("Before", "Steps", "Check"):
            await walk.through(part)
        await walk.through("Check", "Afterwards")
    finally:
        await kube.run("uncordon", node)
    await until_settled(kube, NAME, "Serving", timeout=SERVES_WITHIN)
    walk.saw("No pod of a model was left on the node; Serving again after it was uncordoned.")
    walk.record()


@asynccontextmanager
async def model_on_a_node_without_machine(kube: Kube) -> AsyncGenerator[str]:
    """A model's pod is bound to a node of which only the object exists; the real node takes its successor."""
    async with made_up_node(kube) as node:
        async with cordoned(kube, "slipway"):
            await kube.apply(own_runtime(), on_own_engine(uri=f"pvc://{CLAIM}/good"))
            await kube.wait_for_any("pods", OURS, lambda pod: pod["spec"].get("nodeName") == node)
        yield node


async def test_the_models_of_a_deleted_node_serve_elsewhere(kube: Kube, shell: Shell) -> None:
    async with model_on_a_node_without_machine(kube) as node:
        walk = walk_of(
            "spot-node-reclaimed", shell, kube, "The machine of a node vanishes, the object stays.", NODE=node
        )
        await kube.wait_for("llmdeployment", NAME, lost, timeout=SERVES_WITHIN)
        await walk.through("Diagnosis")
        await walk.through("Mitigation")
        await until_settled(kube, NAME, "Serving", timeout=SERVES_WITHIN)
    walk.saw("Serving on another node.")
    walk.record()


async def test_the_models_of_a_lost_node_serve_elsewhere(kube: Kube, shell: Shell) -> None:
    async with model_on_a_node_without_machine(kube) as node:
        walk = walk_of("NodeLost", shell, kube, "A node stops reporting.", NODE=node)
        await kube.wait_for("llmdeployment", NAME, lost, timeout=SERVES_WITHIN)
        walk.saw("The status named NodeLost.")
        await walk.through("Diagnosis")
        await walk.through("Mitigation")
        await until_settled(kube, NAME, "Serving", timeout=SERVES_WITHIN)
    walk.saw("Serving on another node.")
    walk.record()


def lost(thing: Object) -> bool:
    return "NodeLost" in str(thing.get("status", {}).get("message"))


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


@pytest.mark.parametrize(
    ("page", "namespace", "programs"),
    [
        ("upgrade-kserve", "kserve", ["kserve-controller-manager"]),
        ("upgrade-keda", "keda", ["keda-operator", "keda-metrics-apiserver"]),
    ],
)
async def test_the_controllers_of_the_platform_are_replaced(
    page: str, namespace: str, programs: list[str], kube: Kube, shell: Shell
) -> None:
    await kube.apply(tiny(scaling={"minReplicas": 0}))
    await until_settled(kube, timeout=90)
    walk = walk_of(page, shell, kube, "The same version in new pods, in place of another version.")
    await walk.through("Before")
    for each in programs:
        await kube.run("rollout", "restart", "--namespace", namespace, f"deployment/{each}")
    await walk.through("Steps")
    await walk.through("Check")
    walk.saw("No model changed.")
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
        for image in INSTALLED_IMAGES:
            await asyncio.to_thread(image.loaded, new, settings.cache, settings.steps)
        walk.shell = Shell(shell.home, new.kubeconfig)
        await walk.through("Steps")
        there = kubectl_for(new, tmp_path_factory).within(kube.namespace)
        async with folder_claimed(there, CLAIM, models):
            await walk.through("Check")
            async with client_of(new, there) as client:
                assert (await client.send("/v1/completions", PROMPT, key=KEYS["alice"]))[0] == 200
    finally:
        await asyncio.to_thread(lifecycle.down, new.name, cache=settings.cache, steps=settings.steps)
    walk.saw("All specs were the same, and a request with the old key was answered.")
    walk.record()
