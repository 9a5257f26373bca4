"""The runtime image in pods that KServe creates: it serves, drains, and reports the cause of a failure."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from slipway_devcluster import model
from support.builders.llmdeployments import gemma
from support.builders.model_files import LLAMA_GGUF, cut, without, write_gguf
from support.cluster import (
    Kube,
    Object,
    Operator,
    Predicate,
    ServiceAccess,
    current_status,
    folder_claimed,
    settled,
    until_settled,
)
from support.cluster.services import reachable
from support.load.completions import RefusedError, complete

NAME = "gemma"
PREDICTOR = f"{NAME}-predictor"
PODS = f"slipway.dev/llmdeployment={NAME}"
PYTHON = "/opt/slipway/venv/bin/python"


def serving(**spec: Any) -> Object:
    """One replica of Gemma, which has time to finish its responses."""
    return gemma(min_replicas=1, **({"rollout": {"drainTimeout": "5m"}} | spec))


def reports(reason: str, words: str = "") -> Predicate:
    """A status that names this reason, among others."""

    def is_so(obj: Object) -> bool:
        text = json.dumps(current_status(obj), ensure_ascii=False)
        return f'"{reason}"' in text and words in text

    return is_so


async def inside(kube: Kube, program: str) -> None:
    """Runs a command in the model's container."""
    [pod] = await kube.select("pods", PODS)
    await kube.run("exec", pod["metadata"]["name"], "-c", "kserve-container", "--", PYTHON, "-c", program)


# --- serving ---------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(400, func_only=True)
async def test_every_response_to_constant_load_is_complete_during_a_rollout(
    slipway: Operator, kube: Kube, gemma_volume: None, access: ServiceAccess
) -> None:
    await settled(kube, serving(), "Serving", timeout=120)
    [before] = await kube.select("pods", PODS)
    url = await reachable(access, NAME)
    await kube.patch("llmdeployment", NAME, {"spec": {"pod": {"annotations": {"rolled-out": "once"}}}})
    gone = asyncio.create_task(kube.wait_gone("pod", before["metadata"]["name"], timeout=300))
    async with access.session() as session:

        async def ask_all_the_time() -> None:
            while not gone.done():
                answer = await complete(session, url, "Once upon a time", max_tokens=16, ignore_eos=True)
                assert len(answer.arrivals) > 10

        await asyncio.gather(*(ask_all_the_time() for _ in range(2)))
    await gone
    [after] = await kube.select("pods", PODS)
    assert after["metadata"]["uid"] != before["metadata"]["uid"]


async def test_a_model_with_keys_serves_clients_that_have_one(
    slipway: Operator, kube: Kube, gemma_volume: None, access: ServiceAccess
) -> None:
    keys = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"alice": "key-of-alice"}}
    await kube.apply(keys)
    await settled(kube, serving(access={"apiKeysSecret": "keys"}), "Serving", timeout=120)
    url = await reachable(access, NAME)
    async with access.session() as session:
        with pytest.raises(RefusedError) as refused:
            await complete(session, url, "Kubernetes is", max_tokens=2)
        assert refused.value.status == 401
        session.headers["Authorization"] = "Bearer key-of-alice"
        assert (await complete(session, url, "Kubernetes is", max_tokens=2)).text


# --- engine failures -------------------------------------------------------------------------------------------------

KILL = "import os, pathlib; os.kill(int(pathlib.Path('/proc/1/task/1/children').read_text().split()[0]), 9)"
EAT = """
import os, time
for _ in range(200):  # many small ones, so that the kernel takes the largest: the engine
    if os.fork() == 0:
        eaten = bytearray(os.urandom(1 << 20) * 24)
        time.sleep(20)
        os._exit(0)
    time.sleep(0.02)
"""


async def test_a_killed_engine_is_named_and_restarted(slipway: Operator, kube: Kube, gemma_volume: None) -> None:
    await settled(kube, serving(), "Serving", timeout=120)
    named = asyncio.create_task(kube.wait_for("llmdeployment", NAME, reports("EngineCrashed", "SIGKILL"), timeout=60))
    await inside(kube, KILL)
    await named
    await until_settled(kube, NAME, "Serving", timeout=120)


async def test_an_engine_killed_by_the_oom_killer_is_named(slipway: Operator, kube: Kube, gemma_volume: None) -> None:
    small = {"resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}}}
    await settled(kube, serving(pod=small), "Serving", timeout=120)
    named = asyncio.create_task(kube.wait_for("llmdeployment", NAME, reports("HostOutOfMemory"), timeout=90))
    memory_hog = asyncio.create_task(inside(kube, EAT))
    await named
    await asyncio.wait([memory_hog])
    memory_hog.exception()  # it may have been killed with the container


# --- models that can't be served -------------------------------------------------------------------------------------


def cut_short(folder: Path, source: Path) -> None:
    cut(Path(shutil.copy(source, folder)), to=0.9)


def without_a_tokenizer(folder: Path, _: Path) -> None:
    write_gguf(folder / "model.gguf", without(LLAMA_GGUF, "tokenizer.ggml.tokens"))


def of_no_known_architecture(folder: Path, _: Path) -> None:
    write_gguf(folder / "model.gguf", LLAMA_GGUF | {"general.architecture": "hal9000"})


def none_at_all(folder: Path, _: Path) -> None:
    (folder / "README.md").write_text("It was here.")


def open_to_all(folder: Path) -> None:
    """The pod runs as another user."""
    folder.chmod(0o755)


@pytest.mark.parametrize(
    ("break_model", "reason", "words"),
    [
        (cut_short, "ModelCorrupt", ""),
        (without_a_tokenizer, "ModelCorrupt", "tokenizer"),
        (of_no_known_architecture, "UnsupportedArchitecture", "hal9000"),
        (none_at_all, "ModelNotFound", ""),
    ],
)
async def test_the_fault_of_a_model_is_in_its_status(
    slipway: Operator,
    kube: Kube,
    model_folder: Path,
    tmp_path: Path,
    break_model: Callable[[Path, Path], None],
    reason: str,
    words: str,
) -> None:
    break_model(tmp_path, model_folder / model.GGUF_FILE)
    open_to_all(tmp_path)
    async with folder_claimed(kube, NAME, tmp_path):
        await kube.apply(serving())
        await kube.wait_for("llmdeployment", NAME, reports(reason, words), timeout=60)


async def test_a_model_that_is_too_large_for_the_memory_is_reported_before_it_loads(
    slipway: Operator, kube: Kube, gemma_volume: None
) -> None:
    tiny = {"resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}}}
    await kube.apply(serving(pod=tiny))
    named = await kube.wait_for(
        "llmdeployment", NAME, reports("HostOutOfMemory", "Raise the memory limit in pod.resources"), timeout=60
    )
    assert "kernel" not in json.dumps(current_status(named))
