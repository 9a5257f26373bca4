"""A model that makes embeddings, with all of Slipway as pods: it sleeps, and requests for embeddings wake it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from slipway_devcluster.cluster import Cluster
from support.builders.encoder_files import CONTEXT, HIDDEN, write_embedding_gguf
from support.builders.llmdeployments import PREDICTOR, sleeping_model
from support.cluster import FromTheNode, Kube, folder_claimed
from support.waiting import until

NAME, CLAIM, EMBEDDINGS = "model", "encoder", "/v1/embeddings"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a tiny encoder, which the user of the pods may read."""
    write_embedding_gguf(tmp_path / "embed.gguf").chmod(0o644)
    tmp_path.chmod(0o755)
    return tmp_path


@pytest.fixture
async def kube(operator_pods: Cluster, neighbour_kube: Kube, folder: Path) -> AsyncIterator[Kube]:
    """A namespace with that encoder in the claim `encoder`."""
    async with folder_claimed(neighbour_kube, CLAIM, folder):
        yield neighbour_kube


def embedder() -> dict[str, Any]:
    model = {"uri": f"pvc://{CLAIM}/", "task": "Embed"}
    return sleeping_model(NAME, model=model, engine={"contextLength": CONTEXT})


class Client:
    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._url = session, url

    async def ask(self, path: str = EMBEDDINGS, **body: Any) -> tuple[int, Any, bool]:
        """Returns the status, the response, and whether it was held."""
        async with self._session.post(self._url + path, json={"model": NAME, **body}) as answer:
            return answer.status, await answer.json(), "Slipway-Held-Ms" in answer.headers

    async def is_direct(self) -> bool:
        return not (await self.ask(input="the king"))[2]

    async def is_refused(self) -> bool:
        """Whether the activator is reached; this request wakes nothing."""
        try:
            return (await self.ask("/v1/completions", prompt="Hi"))[0] == 404
        except aiohttp.ClientConnectionError:
            return False


async def test_a_request_for_embeddings_wakes_the_model_and_one_of_another_task_does_not(
    operator_pods: Cluster, kube: Kube
) -> None:
    await kube.apply(embedder())
    await kube.wait_for_condition("scaledobject", NAME, "Ready", timeout=60)
    access = FromTheNode(kube, operator_pods.entered)
    async with access.session() as session:
        client = Client(session, await access.url(NAME))
        await until(client.is_refused, timeout=60)
        status, said, _ = await client.ask("/v1/chat/completions", messages=[])
        assert (status, said["error"]["code"]) == (404, "wrong_task")
        assert (await kube.get("deployment", PREDICTOR))["spec"]["replicas"] == 0
        status, said, was_held = await client.ask(input=["the king", "a river"])
        assert (status, was_held) == (200, True)
        assert [len(each["embedding"]) for each in said["data"]] == [HIDDEN, HIDDEN]
        await until(client.is_direct, timeout=60)
        status, again, _ = await client.ask("/v1/chat/completions", messages=[])
        assert (status, again["error"]["code"]) == (404, "wrong_task")  # now by the pod
    assert (await kube.get("llmdeployment", NAME))["status"]["plan"]["task"] == "Embed"
    await kube.delete("llmdeployment", NAME, wait=True)
