"""A model comes up from a real server of its source, with nothing prepared but the LLMDeployment and its Secret; and
what is wrong with a source is on the object.

An object store is a part of `make test`; the other servers are slow tests.
"""

from __future__ import annotations

import asyncio
import base64
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from slipway_devcluster import registry
from slipway_devcluster.cluster import Cluster
from slipway_runtime.oci import File, Layer, Reference, image_of, push
from slipway_runtime.oci import Settings as PushSettings
from support.builders.llmdeployments import gemma
from support.builders.objects import Object, manifest
from support.cluster import Kube, Operator, Settings
from support.cluster.clusters import AnyCluster
from support.cluster.llmdeployments import current_status, is_in, is_stalled, message
from support.cluster.reachable_hub import reachable
from support.cluster.tester import ReachableServer
from support.fakes.hub import FakeHub, Repository, hub
from support.faults.faulty_http import FaultyServer, answers, faulty, flipped, slow
from support.programs import operator
from support.programs.mlflow_server import mlflow_server
from support.programs.object_store import READER, ROOT, ObjectStore, object_store
from support.programs.registry_process import HTPASSWD, docker_config

NAME = "gemma"
OURS = f"slipway.dev/llmdeployment={NAME}"
BUCKET = "models"
GGUF = "gemma.gguf"
UP_WITHIN, FAILS_WITHIN = 180, 60


@pytest.fixture(scope="module")
def slipway(cluster: AnyCluster, installed_cluster: Kube) -> Iterator[Operator]:
    """The operator, as the chart starts it: with a fetcher."""
    with operator.running(cluster.kubeconfig, f"--fetcher-image={cluster.fetcher_image()}") as slipway:
        yield slipway


@pytest.fixture(scope="module")
def weights(model_folder: Path) -> Path:
    [file] = model_folder.glob("*.gguf")
    return file


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[ObjectStore]:
    with object_store(tmp_path_factory.mktemp("s3")) as store:
        store.make_bucket(BUCKET, readable_by="reader")
        store.put(BUCKET, f"gemma/{GGUF}", weights.read_bytes())
        store.put(BUCKET, "small/model.gguf", b"GGUF of a few bytes")
        yield store


@pytest.fixture
def path(store: ObjectStore) -> Iterator[FaultyServer]:
    """The way to the object store, for faults."""
    with faulty(store.url) as path:
        yield path


def secret(name: str, **values: str) -> Object:
    return manifest("v1", "Secret", name, stringData=values)


def keys(key: str = READER.secret) -> Object:
    return secret("keys", AWS_ACCESS_KEY_ID=READER.identifier, AWS_SECRET_ACCESS_KEY=key)


def from_store(endpoint: str, path: str = "gemma") -> Object:
    model = {"uri": f"s3://{BUCKET}/{path}", "endpoint": endpoint, "credentialsSecret": "keys"}
    return gemma(min_replicas=1, model=model)


def model_status(thing: Object) -> Object:
    found: Object = current_status(thing).get("model") or {}
    return found


async def comes_up(kube: Kube, *things: Object) -> Object:
    """Returns `status.model`."""
    await kube.apply(*things)
    return model_status(await kube.wait_for("llmdeployment", NAME, is_in("Serving"), timeout=UP_WITHIN))


async def fails(kube: Kube, reason: str, words: str, *things: Object) -> None:
    await kube.apply(*things)
    await kube.wait_for("llmdeployment", NAME, is_stalled(reason, words), timeout=FAILS_WITHIN)


@pytest.fixture
async def kube(kube: Kube, installed_cluster: Kube) -> AsyncIterator[Kube]:
    """One model at a time."""
    yield kube
    await kube.delete("llmdeployment", NAME, wait=True)


# --- an object store -------------------------------------------------------------------------------------------------


async def test_a_model_comes_up_from_an_object_store(
    slipway: Operator, kube: Kube, store: ObjectStore, tester: ReachableServer
) -> None:
    async with tester.url_of(store.url) as endpoint:
        found = await comes_up(kube, keys(), from_store(endpoint))
    assert len(found["version"]) == 64, "a digest of names, sizes and ETags"
    [pod] = await kube.select("pods", OURS)
    [fetched] = pod["spec"]["initContainers"]
    assert [each["name"] for each in pod["spec"]["containers"]] == ["kserve-container"], "KServe has added nothing"
    assert "/var/run/secrets/kubernetes.io/serviceaccount" in mounts(fetched), "it has the pod's identity"
    assert mounts(pod["spec"]["containers"][0])["/mnt/models"]["subPath"] == found["folder"]
    assert mounts(pod["spec"]["containers"][0])["/mnt/models"]["readOnly"]
    assert "/etc/slipway/credentials" not in mounts(pod["spec"]["containers"][0])


def mounts(container: Object) -> dict[str, Object]:
    return {each["mountPath"]: each for each in container["volumeMounts"]}


async def test_a_wrong_key_is_reported_and_a_right_one_heals_the_model(
    slipway: Operator, kube: Kube, store: ObjectStore, tester: ReachableServer
) -> None:
    async with tester.url_of(store.url) as endpoint:
        await fails(kube, "ModelAccessDenied", "refuses the credentials", keys("guessed"), from_store(endpoint))
        await kube.apply(keys())
        await kube.delete("pod", f"--selector={OURS}")
        await kube.wait_for("llmdeployment", NAME, is_in("Serving"), timeout=UP_WITHIN)


@pytest.mark.slow
async def test_a_model_that_is_not_there_is_reported(
    slipway: Operator, kube: Kube, store: ObjectStore, tester: ReachableServer
) -> None:
    async with tester.url_of(store.url) as endpoint:
        await fails(kube, "ModelNotFound", "There are no files at", keys(), from_store(endpoint, "missing"))


@pytest.mark.slow
async def test_a_checksum_that_differs_twice_is_reported(
    slipway: Operator, kube: Kube, path: FaultyServer, tester: ReachableServer
) -> None:
    path.fail(r"GET /models/small", flipped)
    async with tester.url_of(path.url) as endpoint:
        await fails(kube, "ModelCorrupt", "doesn't have the digest", keys(), from_store(endpoint, "small"))


# --- what only an operator in the cluster sees, which reaches the pods ----------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(600, func_only=True)
async def test_how_far_a_slow_download_is_can_be_seen_on_the_object(
    operator_pods: Cluster, neighbour_kube: Kube, path: FaultyServer
) -> None:
    tester = ReachableServer(operator_pods.node_ip, operator_pods.entered)
    path.fail(r"GET /models/gemma", slow(1 << 20))
    async with tester.url_of(path.url) as endpoint:
        await neighbour_kube.apply(keys(), from_store(endpoint))
        thing = await neighbour_kube.wait_for("llmdeployment", NAME, is_under_way, timeout=90)
        fetch = model_status(thing)["fetch"]
        assert fetch["total"] > fetch["bytes"] > 0
        assert fetch["bytesPerSecond"] > 0
        reasons = {each["type"]: each["reason"] for each in current_status(thing)["conditions"]}
        assert reasons["ModelLoaded"] == "FetchingModel"
        path.faults.clear()
        thing = await neighbour_kube.wait_for("llmdeployment", NAME, is_in("Serving"), timeout=UP_WITHIN)
        assert "fetch" not in model_status(thing)


def is_under_way(thing: Object) -> bool:
    fetch = model_status(thing).get("fetch") or {}
    return bool(fetch.get("percent")) and " %, " in message(thing, "Ready") and "secondsLeft" in fetch


@pytest.mark.slow
@pytest.mark.timeout(600, func_only=True)
async def test_a_busy_server_is_waited_for_and_the_object_says_so(
    operator_pods: Cluster, neighbour_kube: Kube, path: FaultyServer
) -> None:
    tester = ReachableServer(operator_pods.node_ip, operator_pods.entered)
    path.fail(r"GET /models/gemma", answers(429, Retry_After="15"), times=2)
    async with tester.url_of(path.url) as endpoint:
        await neighbour_kube.apply(keys(), from_store(endpoint))
        waits = lambda it: "waitsFor" in (model_status(it).get("fetch") or {})  # noqa: E731
        thing = await neighbour_kube.wait_for("llmdeployment", NAME, waits, timeout=90)
        assert "busy" in model_status(thing)["fetch"]["waitsFor"]
        await neighbour_kube.wait_for("llmdeployment", NAME, is_in("Serving"), timeout=UP_WITHIN)
    [pod] = await neighbour_kube.select("pods", OURS)
    assert pod["status"]["initContainerStatuses"][0]["restartCount"] == 0


# --- the Hub ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def server(weights: Path) -> Iterator[FakeHub]:
    """A stand-in: no package has a Hub."""
    files = {GGUF: weights.read_bytes(), "gemma-Q8_0.gguf": b"another quantization", "original/a.pth": b"x"}
    gated = Repository({"model.safetensors": b"x"}, gated=True)
    with hub(gemma=Repository(files), gated=gated) as server:
        yield server


def from_hub(endpoint: str, name: str = "gemma", **more: Any) -> Object:
    return gemma(min_replicas=1, model={"uri": f"hf://org/{name}", "endpoint": endpoint, **more})


@pytest.mark.slow
async def test_one_gguf_of_many_comes_up_from_the_hub(
    slipway: Operator, kube: Kube, server: FakeHub, tester: ReachableServer
) -> None:
    commit = server.repositories["org/gemma"].commit
    async with reachable(tester, server) as endpoint:
        found = await comes_up(kube, from_hub(endpoint, revision=commit, files=[GGUF]))
    assert found["version"] == commit
    assert server.count("Q8_0") == 0


@pytest.mark.slow
async def test_a_gated_model_is_reported(
    slipway: Operator, kube: Kube, server: FakeHub, tester: ReachableServer
) -> None:
    async with reachable(tester, server) as endpoint:
        await fails(kube, "ModelAccessDenied", "gated model", from_hub(endpoint, "gated"))


# --- a registry ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_model_comes_up_from_a_registry_with_passwords_and_an_authority_of_its_own(
    slipway: Operator, kube: Kube, cluster: AnyCluster, settings: Settings, weights: Path, tmp_path: Path
) -> None:
    own = cluster.devcluster()
    served = await asyncio.to_thread(registry.start_for_pods, own, HTPASSWD, cache=settings.cache, steps=settings.steps)
    reference = f"{served.address}/team/gemma:1"
    digest = await asyncio.to_thread(pushed, own, reference, weights, tmp_path)
    data = {".dockerconfigjson": docker_config(served.address), "ca.crt": served.authority}
    encoded = {key: base64.b64encode(text.encode()).decode() for key, text in data.items()}
    pull = manifest("v1", "Secret", "pull", type="kubernetes.io/dockerconfigjson", data=encoded)
    model = {"uri": f"oci://{reference}", "credentialsSecret": "pull"}
    assert (await comes_up(kube, pull, gemma(min_replicas=1, model=model)))["version"] == digest


def pushed(cluster: Cluster, reference: str, weights: Path, folder: Path) -> str:
    """The digest of an image with the model."""
    address = reference.partition("/")[0]
    (folder / ".dockerconfigjson").write_text(docker_config(address))
    shutil.copy(cluster.layout.state / registry.OF_PODS / "ca.crt", folder / "ca.crt")
    image = image_of([Layer([File(f"models/{GGUF}", weights)])])
    with cluster.entered():
        push(image, Reference.parse(reference), PushSettings(secret=folder))
    return image.digest


# --- MLflow ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(600, func_only=True)
async def test_a_model_comes_up_from_an_mlflow_registry_by_its_alias(
    slipway: Operator, kube: Kube, store: ObjectStore, tester: ReachableServer, tmp_path: Path
) -> None:
    with mlflow_server(tmp_path, store, allowed_hosts="*") as server:
        version = server.register("gemma", f"s3://{BUCKET}/gemma")
        server.post("registered-models/alias", name="gemma", alias="champion", version=version)
        async with tester.url_of(store.url) as s3, tester.url_of(server.url) as endpoint:
            at_store = {"AWS_ACCESS_KEY_ID": ROOT.identifier, "AWS_SECRET_ACCESS_KEY": ROOT.secret}
            given = secret("mlflow", **at_store, AWS_ENDPOINT_URL=s3)
            model = {"uri": "mlflow://models:/gemma@champion", "endpoint": endpoint, "credentialsSecret": "mlflow"}
            found = await comes_up(kube, given, gemma(min_replicas=1, model=model))
    assert found["version"].startswith(f"models:/gemma/{version} ")
