"""Compiled code from an image, on a cluster whose pods can mount images: from the Job that pushes to the next wake.

The cluster has containerd 2, and a registry with TLS and passwords that nodes and pods reach under one name. What needs
no real vLLM is tried with a container that does nothing: an image is mounted or given up before an engine starts.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from slipway_devcluster import model, registry
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.images import BASE_IMAGE
from slipway_devcluster.registry import ADDRESS_OF_PODS, Secured
from slipway_devcluster.slipway import VLLM_CPU_IMAGE
from slipway_runtime.oci import File, Layer, Reference, image_of, push
from slipway_runtime.oci import Settings as PushSettings
from support.builders.llmdeployments import READY_AT_ONCE, llmdeployment
from support.cluster import Kube, KubectlError, Object, Operator, Settings, folder_claimed, installation, own_namespace
from support.cluster.image_volumes import imaging_cluster, registry_secret, without_registry
from support.cluster.llmdeployments import current_status, events_with, is_for_others_to_scale
from support.cluster.pods import is_running
from support.programs import operator
from support.programs.registry_process import HTPASSWD, docker_config
from support.repository import RUNTIMES, documents

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900, func_only=True)]

NAME, PREDICTOR = "gemma", "gemma-predictor"
OURS = f"slipway.dev/llmdeployment={NAME}"
JOBS = "slipway.dev/llmdeployment,app.kubernetes.io/component=compilation"
REPOSITORY = f"{ADDRESS_OF_PODS}/team/caches"
RUNTIME = "slipway-vllm-cpu"
IDLE = "trap 'exit 0' TERM; sleep 86400 & wait"
COMPILED = "/var/cache/slipway-compiled"
INFO = "import urllib.request as http; print(http.urlopen('http://127.0.0.1:8081/info').read().decode())"


@pytest.fixture(scope="module")
def imaging(settings: Settings) -> Iterator[Cluster]:
    """A cluster of these tests alone."""
    with imaging_cluster(settings) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def secured(imaging: Cluster, settings: Settings) -> Secured:
    return registry.start_for_pods(imaging, HTPASSWD, cache=settings.cache, steps=settings.steps)


@pytest.fixture(scope="module")
def installed(imaging: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Kube:
    kube = Kube(imaging.kubectl, imaging.kubeconfig, cache_folder=tmp_path_factory.getbasetemp() / "kubectl")
    asyncio.run(installation.install(kube, "localhost/none"))
    return kube


@pytest.fixture(scope="module")
def slipway(imaging: Cluster, installed: Kube) -> Iterator[Operator]:
    """The operator, which may start Jobs in all namespaces."""
    with operator.running(imaging.kubeconfig, "--inspect-namespaces=*") as slipway:
        yield slipway


@pytest.fixture
async def kube(slipway: Operator, installed: Kube, secured: Secured) -> AsyncIterator[Kube]:
    """A namespace with the Secrets `push` and `pull`, of which the first has the registry's certificate, too."""
    async with own_namespace(installed) as kube:
        await kube.apply(
            registry_secret("push", docker_config(secured.address), secured.authority),
            registry_secret("pull", docker_config(secured.address)),
            registry_secret("wrong", docker_config(secured.address, "guessed"), secured.authority),
        )
        yield kube
        await kube.delete("llmdeployment", NAME, wait=True)


@pytest.fixture
async def idle(kube: Kube) -> AsyncIterator[Kube]:
    """Where the container of vLLM's runtime is ready at once and does nothing."""
    [runtime] = [each for each in documents(RUNTIMES) if each["metadata"]["name"] == RUNTIME]
    container = runtime["spec"]["containers"][0]
    probes = dict.fromkeys(("startupProbe", "livenessProbe"))
    sleeping = {**container, "image": BASE_IMAGE, "command": ["sh", "-c", IDLE], "readinessProbe": READY_AT_ONCE}
    sleeping = {name: each for name, each in sleeping.items() if name not in (*probes, "args", "securityContext")}
    await kube.apply({**runtime, "spec": {**runtime["spec"], "containers": [sleeping]}})
    async with folder_claimed(kube, NAME, Path("/usr")):
        yield kube
    await kube.apply(runtime)


def vllm(*, pulls_with: str = "pull", **compile_cache: str) -> Object:
    spec: Object = {
        "model": {"uri": f"pvc://{NAME}/"},
        "engine": {
            "name": "vllm",
            "contextLength": 512,
            "maxConcurrency": 2,
            "compileCache": {"kind": "Image", **compile_cache},
        },
        "accelerator": {"profiles": ["cpu"]},
        "scaling": {"minReplicas": 0, "maxReplicas": 1},
        "pod": {
            "imagePullSecrets": [{"name": pulls_with}],
            "resources": {"requests": {"cpu": "500m", "memory": "3Gi"}, "limits": {"memory": "6Gi"}},
        },
    }
    return llmdeployment(NAME, spec)


def cache_of(thing: Object) -> Object:
    found: Object = current_status(thing).get("compileCache") or {}
    return found


async def until_cache(kube: Kube, *, timeout: float = 60, **fields: str) -> Object:
    def holds(thing: Object) -> bool:
        return all(cache_of(thing).get(name) == value for name, value in fields.items())

    return cache_of(await kube.wait_for("llmdeployment", NAME, holds, timeout=timeout))


async def applied(kube: Kube, thing: Object) -> None:
    """Until others may scale it."""
    await kube.apply(thing)
    await kube.wait_for("deployment", PREDICTOR, is_for_others_to_scale)


async def awake(kube: Kube, *, timeout: float = 120) -> Object:
    await kube.scale("deployment", PREDICTOR, 1)
    is_ready = lambda it: (it.get("status") or {}).get("readyReplicas") == 1  # noqa: E731
    await kube.wait_for("deployment", PREDICTOR, is_ready, timeout=timeout)
    [pod] = [each for each in await kube.select("pods", OURS) if is_running(each)]
    return pod


async def sleeps(kube: Kube) -> None:
    await kube.scale("deployment", PREDICTOR, 0)
    for pod in await kube.select("pods", OURS):
        await kube.wait_gone("pod", pod["metadata"]["name"])


def mounted(pod: Object) -> str:
    """The image that is mounted; empty: none."""
    volumes = (each.get("image") or {} for each in pod["spec"]["volumes"] if each["name"] == "slipway-compiled")
    return str(next(volumes, {}).get("reference", ""))


def pushed(cluster: Cluster, folder: Path, content: str = "anything") -> str:
    """The name of a small image in the registry."""
    secrets = cluster.layout.state / registry.OF_PODS
    (folder / "secret").mkdir()
    (folder / "secret/.dockerconfigjson").write_text(docker_config(ADDRESS_OF_PODS))
    shutil.copy(secrets / "ca.crt", folder / "secret/ca.crt")
    (folder / "file").write_text(content)
    image = image_of([Layer([File("0/manifest.json", folder / "file")])])
    with cluster.entered():
        return push(image, Reference.parse(f"{REPOSITORY}:x"), PushSettings(secret=folder / "secret")).name


def forgotten(cluster: Cluster, image: str) -> None:
    """Makes the node one that has never pulled it."""
    ctr = [cluster.ctr, "--address", "/run/containerd/containerd.sock", "--namespace", "k8s.io", "images"]
    listed = cluster.namespaces.run([*ctr, "list", "--quiet"]).split()
    cluster.namespaces.run([*ctr, "rm", "--sync", *[each for each in listed if image.partition("@")[2] in each]])


# --- mounting and giving up ------------------------------------------------------------------------------------------


async def test_an_image_is_mounted_read_only_without_any_right_to_it(
    idle: Kube, imaging: Cluster, tmp_path: Path
) -> None:
    image = await asyncio.to_thread(pushed, imaging, tmp_path)
    await applied(idle, vllm(image=image))
    pod = await awake(idle)
    assert mounted(pod) == image
    [container] = pod["status"]["containerStatuses"]
    [mount] = [each for each in container["volumeMounts"] if each["mountPath"] == COMPILED]
    assert mount["readOnly"]
    assert (await until_cache(idle, kind="Image"))["image"] == image


async def test_a_node_that_has_the_image_needs_no_registry(idle: Kube, imaging: Cluster, tmp_path: Path) -> None:
    image = await asyncio.to_thread(pushed, imaging, tmp_path)
    await applied(idle, vllm(image=image))
    await awake(idle)
    await sleeps(idle)
    async with without_registry(imaging):
        assert mounted(await awake(idle)) == image


async def test_a_node_that_has_it_not_runs_the_model_without_it_while_the_registry_is_down(
    idle: Kube, imaging: Cluster, tmp_path: Path
) -> None:
    image = await asyncio.to_thread(pushed, imaging, tmp_path, "of another test")
    await asyncio.to_thread(forgotten, imaging, image)
    async with without_registry(imaging):
        await applied(idle, vllm(image=image))
        assert mounted(await awake(idle, timeout=240)) == ""
        assert (await until_cache(idle, kind="EmptyDir"))["givenUp"]["reason"] == "ImagePullFailed"
    await sleeps(idle)
    assert mounted(await awake(idle)) == image, "it is tried again once the model has slept"


async def test_an_image_that_does_not_exist_does_not_stop_the_model(idle: Kube) -> None:
    await applied(idle, vllm(image=f"{REPOSITORY}@sha256:{'0' * 64}"))
    assert mounted(await awake(idle)) == ""
    found = await until_cache(idle, kind="EmptyDir")
    assert found["givenUp"]["reason"] == "ImageGone"
    assert "not found" in found["givenUp"]["message"]
    assert ("Warning", "CompileCacheGivenUp") in await events_with(idle, "CompileCacheGivenUp", NAME)


async def test_wrong_credentials_of_the_node_do_not_stop_the_model(
    idle: Kube, imaging: Cluster, tmp_path: Path
) -> None:
    image = await asyncio.to_thread(pushed, imaging, tmp_path, "that no node has pulled")
    await applied(idle, vllm(image=image, pulls_with="wrong"))
    assert mounted(await awake(idle)) == ""
    assert (await until_cache(idle, kind="EmptyDir"))["givenUp"]["reason"] == "ImagePullFailed"


# --- the Job ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def checkpoint(kube: Kube, imaging: Cluster, settings: Settings, tmp_path: Path) -> AsyncIterator[Kube]:
    """Where vLLM itself serves the demo model."""
    VLLM_CPU_IMAGE.loaded(imaging, settings.cache, settings.steps)
    shutil.copytree(model.ensure_hf(settings.cache, settings.steps), tmp_path / "model")
    for place in (tmp_path, *(tmp_path / "model").rglob("*")):
        place.chmod(0o755 if place.is_dir() else 0o644)  # the pod runs as another user
    async with folder_claimed(kube, NAME, tmp_path / "model"):
        yield kube


async def inside(kube: Kube, pod: Object, *command: str) -> str:
    name = pod["metadata"]["name"]
    return (await kube.run("exec", name, "-c", "kserve-container", "--", *command)).strip()


async def info(kube: Kube, pod: Object) -> Object:
    found: Object = json.loads(await inside(kube, pod, "/opt/slipway/venv/bin/python", "-c", INFO))
    return found


@pytest.mark.timeout(2700, func_only=True)
async def test_a_job_compiles_once_and_the_pods_compile_nothing(checkpoint: Kube, imaging: Cluster) -> None:
    await checkpoint.apply(vllm(repository=REPOSITORY, pushSecret="push"))
    job = await checkpoint.wait_for_any("job", JOBS, lambda _: True, timeout=120)
    [container] = job["spec"]["template"]["spec"]["containers"]
    assert container["args"][:2] == ["warm", "vllm"]
    found = await until_cache(checkpoint, kind="Image", timeout=1500)
    image = found["pushed"]["image"]
    assert image.startswith(f"{REPOSITORY}@sha256:")
    await checkpoint.wait_gone("job", job["metadata"]["name"])

    await asyncio.to_thread(forgotten, imaging, image)  # the Job's node hasn't pulled it either
    pod = await awake(checkpoint, timeout=900)
    assert mounted(pod) == image
    compiled = (await info(checkpoint, pod))["compileCache"]
    assert compiled["state"] == "Used", compiled
    assert not compiled["newFiles"], compiled
    with pytest.raises(KubectlError, match="Read-only file system"):
        await inside(checkpoint, pod, "touch", f"{COMPILED}/anything")


async def test_a_wrong_password_is_reported_before_anything_is_compiled(checkpoint: Kube) -> None:
    await checkpoint.apply(vllm(repository=REPOSITORY, pushSecret="wrong"))
    failed = lambda it: "pushFailure" in cache_of(it)  # noqa: E731
    found = cache_of(await checkpoint.wait_for("llmdeployment", NAME, failed, timeout=300))
    assert found["pushFailure"]["reason"] == "PushFailed"
    assert "refuses the credentials (HTTP 401)" in found["message"]
    assert found["kind"] == "EmptyDir"
