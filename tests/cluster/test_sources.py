"""A model comes up from a real server of its source, with nothing prepared but the LLMDeployment and its Secret."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.builders.llmdeployments import gemma
from support.builders.objects import Object, manifest
from support.cluster import Kube, Operator
from support.cluster.clusters import AnyCluster
from support.cluster.llmdeployments import is_in
from support.cluster.tester import ReachableServer
from support.programs import operator
from support.programs.object_store import READER, ObjectStore, object_store

NAME = "gemma"
OURS = f"slipway.dev/llmdeployment={NAME}"
BUCKET = "models"


@pytest.fixture(scope="module")
def slipway(cluster: AnyCluster, installed_cluster: Kube) -> Iterator[Operator]:
    """The operator, as the chart starts it: with a fetcher."""
    with operator.running(cluster.kubeconfig, f"--fetcher-image={cluster.fetcher_image()}") as slipway:
        yield slipway


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Iterator[ObjectStore]:
    with object_store(tmp_path_factory.mktemp("s3")) as store:
        store.make_bucket(BUCKET, readable_by="reader")
        for file in model_folder.glob("*.gguf"):
            store.put(BUCKET, f"gemma/{file.name}", file.read_bytes())
        yield store


@asynccontextmanager
async def reachable(tester: ReachableServer, url: str) -> AsyncIterator[str]:
    """The URL by which pods reach a server of this machine's loopback."""
    parts = urlsplit(url)
    async with tester.relay(parts.port or 80) as port:
        yield f"{parts.scheme}://{tester.address}:{port}"


def secret(name: str, **values: str) -> Object:
    return manifest("v1", "Secret", name, stringData=values)


def keys(key: str = READER.secret) -> Object:
    return secret("keys", AWS_ACCESS_KEY_ID=READER.identifier, AWS_SECRET_ACCESS_KEY=key)


async def test_a_model_comes_up_from_an_object_store(
    slipway: Operator, kube: Kube, store: ObjectStore, tester: ReachableServer
) -> None:
    async with reachable(tester, store.url) as endpoint:
        model = {"uri": f"s3://{BUCKET}/gemma", "endpoint": endpoint, "credentialsSecret": "keys"}
        await kube.apply(keys(), gemma(min_replicas=1, model=model))
        await kube.wait_for("llmdeployment", NAME, is_in("Serving"), timeout=180)
        [pod] = await kube.select("pods", OURS)
    [fetched] = pod["spec"]["initContainers"]
    assert fetched["args"][0] == model["uri"]
    assert [each["name"] for each in pod["spec"]["containers"]] == ["kserve-container"]
