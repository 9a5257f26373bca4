"""Models' files in an image, on a cluster whose pods can mount images: from the Job that pushes to the second wake.

The engine does nothing, so that only the files matter. They come from a real object store, behind a proxy that counts.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Iterator

import pytest
from slipway_devcluster import registry
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.images import BASE_IMAGE
from slipway_devcluster.registry import ADDRESS_OF_PODS, Secured
from support.builders.llmdeployments import on_own_engine, own_runtime
from support.builders.objects import manifest
from support.cluster import Kube, Object, Operator, Settings, installation, own_namespace
from support.cluster.clusters import EmbeddedCluster
from support.cluster.image_volumes import imaging_cluster, registry_secret, without_registry
from support.cluster.llmdeployments import current_status, is_for_others_to_scale
from support.cluster.pods import is_running
from support.faults.faulty_http import FaultyServer, faulty
from support.programs import operator
from support.programs.object_store import READER, object_store
from support.programs.registry_process import HTPASSWD, docker_config

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900, func_only=True)]

NAME, PREDICTOR = "model", "model-predictor"
OURS = f"slipway.dev/llmdeployment={NAME}"
JOBS = "slipway.dev/llmdeployment,app.kubernetes.io/component=imaging"
URI = "s3://models/llama"
REPOSITORY = f"{ADDRESS_OF_PODS}/team/models"
WEIGHTS = os.urandom(80 << 20)  # a layer of its own
FILES = {"config.json": b"{}", "model.safetensors": WEIGHTS}
IDLE = ["sh", "-c", "trap 'exit 0' TERM; sleep 86400 & wait"]


@pytest.fixture(scope="module")
def imaging(settings: Settings) -> Iterator[Cluster]:
    with imaging_cluster(settings) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def secured(imaging: Cluster, settings: Settings) -> Secured:
    return registry.start_for_pods(imaging, HTPASSWD, cache=settings.cache, steps=settings.steps)


@pytest.fixture(scope="module")
def embedded(imaging: Cluster, settings: Settings) -> EmbeddedCluster:
    return EmbeddedCluster(imaging, settings)


@pytest.fixture(scope="module")
def installed(imaging: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Kube:
    kube = Kube(imaging.kubectl, imaging.kubeconfig, cache_folder=tmp_path_factory.getbasetemp() / "kubectl")
    asyncio.run(installation.install(kube, "localhost/none"))
    return kube


@pytest.fixture(scope="module")
def slipway(embedded: EmbeddedCluster, installed: Kube) -> Iterator[Operator]:
    """The operator, with a fetcher; it may start Jobs in all namespaces."""
    flags = ("--inspect-namespaces=*", f"--fetcher-image={embedded.fetcher_image()}")
    with operator.running(embedded.kubeconfig, *flags) as slipway:
        yield slipway


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyServer]:
    """The proxy before an object store that has the model."""
    with object_store(tmp_path_factory.mktemp("s3")) as real:
        real.make_bucket("models", readable_by="reader")
        for name, content in FILES.items():
            real.put("models", f"llama/{name}", content)
        with faulty(real.url) as proxy:
            yield proxy


@pytest.fixture
async def kube(slipway: Operator, installed: Kube, secured: Secured) -> AsyncIterator[Kube]:
    keys = {"AWS_ACCESS_KEY_ID": READER.identifier, "AWS_SECRET_ACCESS_KEY": READER.secret}
    async with own_namespace(installed) as kube:
        await kube.apply(
            registry_secret("push", docker_config(secured.address), secured.authority),
            registry_secret("pull", docker_config(secured.address)),
            registry_secret("wrong", docker_config(secured.address, "guessed"), secured.authority),
            manifest("v1", "Secret", "keys", stringData=keys),
            own_runtime(image=BASE_IMAGE, command=IDLE),
        )
        yield kube
        await kube.delete("llmdeployment", NAME, wait=True)


def model(endpoint: str, pushes_with: str = "push") -> Object:
    cache = {"kind": "Image", "repository": REPOSITORY, "pushSecret": pushes_with}
    source: Object = {"uri": URI, "endpoint": endpoint, "credentialsSecret": "keys", "cache": cache}
    scaling = {"minReplicas": 0, "maxReplicas": 1}
    pod = {"imagePullSecrets": [{"name": "pull"}]}
    return on_own_engine(NAME, replicas=0, uri=URI, model=source, scaling=scaling, pod=pod)


def cache_of(thing: Object) -> Object:
    found: Object = current_status(thing).get("modelCache") or {}
    return found


async def awake(kube: Kube) -> Object:
    await kube.scale("deployment", PREDICTOR, 1)
    is_ready = lambda it: (it.get("status") or {}).get("readyReplicas") == 1  # noqa: E731
    await kube.wait_for("deployment", PREDICTOR, is_ready, timeout=180)
    [pod] = [each for each in await kube.select("pods", OURS) if is_running(each)]
    return pod


async def sleeps(kube: Kube) -> None:
    await kube.scale("deployment", PREDICTOR, 0)
    for pod in await kube.select("pods", OURS):
        await kube.wait_gone("pod", pod["metadata"]["name"])


def mounted(pod: Object) -> str:
    """The image that is mounted; empty: none."""
    [volume] = [each for each in pod["spec"]["volumes"] if each["name"] == "slipway-weights"]
    return str((volume.get("image") or {}).get("reference", ""))


async def digest_in(kube: Kube, pod: Object) -> str:
    """Of the weights, as the engine reads them."""
    command = ("sha256sum", "/mnt/models/model.safetensors")
    said = await kube.run("exec", pod["metadata"]["name"], "-c", "kserve-container", "--", *command)
    return said.split()[0]


async def test_the_second_wake_needs_neither_the_object_store_nor_the_registry(
    kube: Kube, embedded: EmbeddedCluster, imaging: Cluster, store: FaultyServer
) -> None:
    async with embedded.tester().url_of(store.url) as endpoint:
        await kube.apply(model(endpoint))
        job = await kube.wait_for_any("job", JOBS, lambda _: True)
        await kube.wait_for("deployment", PREDICTOR, is_for_others_to_scale)
        has_image = lambda it: cache_of(it).get("kind") == "Image"  # noqa: E731
        image = cache_of(await kube.wait_for("llmdeployment", NAME, has_image, timeout=300))["image"]
        assert image.startswith(f"{REPOSITORY}@sha256:")
        await kube.wait_gone("job", job["metadata"]["name"])
    sent = store.sent
    assert len(WEIGHTS) < sent < 1.5 * len(WEIGHTS)  # by the Job alone
    first = await awake(kube)  # from the registry
    assert mounted(first) == image
    assert await digest_in(kube, first) == hashlib.sha256(WEIGHTS).hexdigest()
    await sleeps(kube)
    async with without_registry(imaging):
        second = await awake(kube)
        assert mounted(second) == image
    assert store.sent == sent


async def test_a_wrong_password_is_found_before_anything_is_fetched_and_the_model_runs_all_the_same(
    kube: Kube, embedded: EmbeddedCluster, store: FaultyServer
) -> None:
    before = store.sent
    async with embedded.tester().url_of(store.url) as endpoint:
        await kube.apply(model(endpoint, pushes_with="wrong"))
        failed = lambda it: "pushFailure" in cache_of(it)  # noqa: E731
        found = cache_of(await kube.wait_for("llmdeployment", NAME, failed, timeout=180))
        assert found["pushFailure"]["reason"] == "PushFailed"
        assert "refuses the credentials (HTTP 401)" in found["message"]
        assert store.sent == before
        await kube.wait_for("deployment", PREDICTOR, is_for_others_to_scale)
        pod = await awake(kube)
    assert mounted(pod) == ""
    assert await digest_in(kube, pod) == hashlib.sha256(WEIGHTS).hexdigest()
