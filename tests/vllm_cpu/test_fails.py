"""`slipway-runtime serve vllm`, when something goes wrong: it ends, and says why."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
from support.failing_starts import VLLM_STARTS
from support.supervised_pod import is_alive
from support.vllm_pod import VllmPod, descendants

pytestmark = pytest.mark.timeout(1800)

STARTS = {start.name: start for start in VLLM_STARTS}


async def fails(pod: VllmPod, name: str, folder: Path) -> int:
    start = STARTS[name]
    await pod.serve(start.model(folder), flags=tuple(start.words))
    return await pod.ends()


async def test_a_killed_engine_core_ends_the_pod_with_the_cause_and_no_answer_looks_whole(
    pod: VllmPod, tiny: Path
) -> None:
    """vLLM itself ends with 0. The flag would keep it from starting, had its cache no size."""
    await pod.serve(tiny, flags=("--gpu-memory-utilization=1",))
    await pod.becomes_ready()
    async with pod.long_stream(60_000) as answer:
        os.kill(pod.process_named("VLLM::EngineCore"), signal.SIGKILL)
        with suppress(aiohttp.ClientPayloadError):
            assert b'data: {"error"' in await answer.read()
    assert await pod.ends() == 40
    assert (pod.told()["reason"], pod.told()["phase"]) == ("EngineCrashed", "ready")
    assert "SIGKILL" in pod.told()["message"]


async def test_a_stop_while_it_loads_ends_all(pod: VllmPod, tiny: Path) -> None:
    """vLLM itself ignores it and goes on to serve. Nor does it answer anybody while it loads; our own port does."""
    await pod.serve(tiny)
    await pod.says("core has its configuration")  # from here on vLLM has its own handler
    assert (await pod.get("/startupz"))[0] == 503
    assert (await pod.get("/livez"))[0] == 200
    started = descendants(pod.process.pid)
    pod.stop()
    assert await pod.ends() == 0
    assert not any(map(is_alive, started))
    assert not [line for line in pod.said if "Ready after" in line]


async def test_a_model_that_cannot_be_loaded_is_named_at_once_and_not_tried_the_ordinary_way(
    pod: VllmPod, tmp_path: Path
) -> None:
    assert await fails(pod, "wrong-shape", tmp_path) == 12
    assert pod.told()["reason"] == "ModelCorrupt"
    assert len([line for line in pod.said if "Starting to load model" in line]) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [
        ("unknown-model-type", 13, "UnsupportedArchitecture"),
        ("unknown-flag", 2, "BadEngineArguments"),
    ],
)
async def test_what_only_vllm_itself_can_find_out_is_named(
    pod: VllmPod, tmp_path: Path, name: str, code: int, reason: str
) -> None:
    assert await fails(pod, name, tmp_path) == code
    assert pod.told()["reason"] == reason
