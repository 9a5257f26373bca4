"""A real vLLM on CPUs, whose compiled code is in a claim of the default StorageClass: a second wake compiles nothing.

All of Slipway runs as pods, since the operator reads from the model's pod what its start compiled. `make chaos` runs
it: the image takes minutes to build and to unpack.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import pytest_asyncio
from slipway.api.names import SLEEP_ANNOTATION, WAKE_ANNOTATION
from slipway_devcluster import model
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.slipway import VLLM_CPU_IMAGE
from support.builders.llmdeployments import GEMMA_CLAIM, gemma
from support.builders.objects import manifest
from support.cluster import Kube, Neighbour, Object, Settings, folder_claimed, own_namespace, until_settled
from support.cluster.fixtures import kubectl_for
from support.cluster.llmdeployments import current_status

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(1500, func_only=True)]

NAME = "gemma"
OURS = f"slipway.dev/llmdeployment={NAME}"
START = 900  # seconds: on a machine with other load


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kube(
    operator_pods: Cluster, neighbour: Neighbour, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Kube]:
    """A namespace in which vLLM serves the demo model when it is woken; it has started once."""
    VLLM_CPU_IMAGE.loaded(operator_pods, settings.cache, settings.steps)
    with TemporaryDirectory() as folder:
        shutil.copytree(model.ensure_hf(settings.cache, settings.steps), folder, dirs_exist_ok=True)
        kubectl = kubectl_for(neighbour.cluster, tmp_path_factory)
        async with own_namespace(kubectl) as kube, folder_claimed(kube, GEMMA_CLAIM, Path(folder)):
            await kube.apply(by_vllm())
            await until_settled(kube, NAME, "Idle", timeout=60)
            await wakes(kube)
            yield kube
            await kube.delete("llmdeployment", NAME, wait=True)


def by_vllm(**spec: Any) -> Object:
    """It sleeps once the annotation says so, and is small enough for a machine with other load."""
    base: Object = {
        "engine": {"name": "vllm", "contextLength": 1024, "maxConcurrency": 4},
        "accelerator": {"profiles": ["cpu"]},
        "scaling": {"minReplicas": 0, "maxReplicas": 1, "idleAfter": "2h", "hold": {"timeout": "20m"}},
        "pod": {"resources": {"requests": {"cpu": "500m", "memory": "4Gi"}, "limits": {"memory": "6Gi"}}},
    }
    return gemma(min_replicas=0, **(base | spec))


async def wakes(kube: Kube) -> Object:
    """Returns `status.compileCache`, once it is known what became of this start."""
    await kube.run("annotate", "--overwrite", "llmdeployment", NAME, f"{WAKE_ANNOTATION}={now()}")
    await until_settled(kube, NAME, "Serving", timeout=START)
    [pod] = [each for each in await kube.select("pods", OURS) if "deletionTimestamp" not in each["metadata"]]
    known = await kube.wait_for("llmdeployment", NAME, is_known_of(pod["metadata"]["name"]), timeout=240)
    found: Object = current_status(known)["compileCache"]
    return found


def is_known_of(pod: str) -> Any:
    def is_so(thing: Object) -> bool:
        last = (current_status(thing).get("compileCache") or {}).get("lastStart") or {}
        return last.get("pod") == pod and last.get("compiled") is not None and last.get("state") != "Filling"

    return is_so


async def sleeps(kube: Kube) -> None:
    await kube.run("annotate", "--overwrite", "llmdeployment", NAME, f"{SLEEP_ANNOTATION}={now()}")
    for pod in await kube.select("pods", OURS):
        await kube.wait_gone("pod", pod["metadata"]["name"], timeout=120)
    await until_settled(kube, NAME, "Idle", timeout=60)


def now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


async def test_the_first_start_has_filled_the_claim(kube: Kube) -> None:
    found = current_status(await kube.get("llmdeployment", NAME))["compileCache"]
    assert (found["kind"], found["storageClassName"]) == ("PVC", "local-path")
    assert (found["lastStart"]["state"], found["lastStart"]["compiled"]) == ("Filled", "Everything")


async def test_the_second_wake_compiles_nothing_by_default(kube: Kube) -> None:
    await sleeps(kube)
    found = await wakes(kube)
    assert (found["lastStart"]["state"], found["lastStart"]["compiled"]) == ("Used", "Nothing")
    status = current_status(await kube.get("llmdeployment", NAME))
    assert status["lastColdStart"]["compiled"] == "Nothing"


async def test_a_rotated_key_and_another_served_name_compile_nothing(kube: Kube) -> None:
    await sleeps(kube)
    keys = manifest("v1", "Secret", "keys", stringData={"alice": "sk-0123456789abcdef0123456789abcdef"})
    renamed = {"uri": f"pvc://{GEMMA_CLAIM}/", "servedName": "another-name"}
    await kube.apply(keys, by_vllm(model=renamed, access={"apiKeysSecret": "keys"}))
    found = await wakes(kube)
    assert (found["lastStart"]["state"], found["lastStart"]["compiled"]) == ("Used", "Nothing")
