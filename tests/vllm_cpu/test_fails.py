"""`slipway-runtime serve vllm`, when something goes wrong: it ends, and says why."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
from support.faults.failing_starts import VLLM_STARTS
from support.programs.processes import tree
from support.programs.supervised_pod import is_alive
from support.programs.vllm_pod import VllmPod

pytestmark = pytest.mark.timeout(1800)

STARTS = {start.name: start for start in VLLM_STARTS}

ANOTHER_VLLM = """
import sys
if sys.argv[:1] == ["-m"] and "slipway_runtime.faststart.child" in sys.orig_argv:
    from slipway_runtime.faststart.adapters import vllm_0_32
    vllm_0_32.HANDSHAKE = ("self", "greeting")
"""


async def fails(pod: VllmPod, name: str, folder: Path) -> int:
    start = STARTS[name]
    await pod.serve(start.model(folder), flags=tuple(start.words))
    return await pod.until_ended()


async def test_a_killed_engine_core_ends_the_pod_with_the_cause_and_no_response_looks_complete(
    pod: VllmPod, tiny: Path
) -> None:
    """vLLM itself exits with 0. The flag would prevent its start if its cache had no size."""
    await pod.serve(tiny, flags=("--gpu-memory-utilization=1",))
    await pod.until_ready()
    async with pod.long_stream(60_000) as answer:
        os.kill(pod.process_named("VLLM::EngineCore"), signal.SIGKILL)
        with suppress(aiohttp.ClientPayloadError):
            assert b'data: {"error"' in await answer.read()
    assert await pod.until_ended() == 40
    assert (pod.termination_message()["reason"], pod.termination_message()["phase"]) == ("EngineCrashed", "ready")
    assert "SIGKILL" in pod.termination_message()["message"]


async def test_a_stop_during_loading_ends_everything(pod: VllmPod, tiny: Path) -> None:
    """vLLM itself ignores the stop and goes on to serve. Nor does it respond while it loads; our own port does."""
    await pod.serve(tiny)
    await pod.until_logged("core has its configuration")  # from here on vLLM has its own handler
    assert (await pod.get("/startupz"))[0] == 503
    assert (await pod.get("/livez"))[0] == 200
    _, *started = tree(pod.process.pid)
    pod.stop()
    assert await pod.until_ended() == 0
    assert not any(map(is_alive, started))
    assert not [line for line in pod.log_lines if "Ready after" in line]


async def test_a_model_that_cannot_be_loaded_is_named_immediately_and_not_retried_the_ordinary_way(
    pod: VllmPod, tmp_path: Path
) -> None:
    assert await fails(pod, "wrong-shape", tmp_path) == 12
    assert pod.termination_message()["reason"] == "ModelCorrupt"
    assert len([line for line in pod.log_lines if "Starting to load model" in line]) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [
        ("context-larger-than-cache", 32, "ContextTooLong"),
        ("unknown-model-type", 13, "UnsupportedArchitecture"),
        ("unknown-flag", 2, "BadEngineArguments"),
    ],
)
async def test_a_fault_that_only_vllm_itself_can_find_is_named(
    pod: VllmPod, tmp_path: Path, name: str, code: int, reason: str
) -> None:
    assert await fails(pod, name, tmp_path) == code
    assert pod.termination_message()["reason"] == reason


@pytest.mark.slow
async def test_an_unexpected_vllm_starts_the_ordinary_way_with_the_same_promises(
    pod: VllmPod, tiny: Path, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(ANOTHER_VLLM)
    assert pod.environment
    pod.environment = {**pod.environment, "PYTHONPATH": f"{tmp_path}:{pod.environment['PYTHONPATH']}"}
    await pod.serve(tiny)
    await pod.until_ready()
    [reason] = [line for line in pod.log_lines if "so vLLM is started the ordinary way" in line]
    assert "the engine core reports that vllm.v1.engine.core.EngineCoreProc._perform_handshakes takes" in reason
    async with await pod.completion(prompt="Hi", max_tokens=4) as answer:
        assert answer.status == 200
    async with pod.http.post(f"{pod.url}/invocations", json={}) as answer:
        assert answer.status == 404
    os.kill(pod.process_named("VLLM::EngineCore"), signal.SIGKILL)
    assert await pod.until_ended() == 40
    assert pod.termination_message()["reason"] == "EngineCrashed"


@pytest.mark.slow
@pytest.mark.parametrize("process", ["VLLM::EngineCore", "VLLM::Worker"])
async def test_a_hung_engine_is_detected_within_30_seconds(pod: VllmPod, tiny: Path, process: str) -> None:
    await pod.serve(tiny)
    await pod.until_ready()
    async with pod.long_stream(60_000):
        os.kill(pod.process_named(process), signal.SIGSTOP)
        hung_at = time.monotonic()
        assert await pod.until_ended() == 42
        assert time.monotonic() - hung_at < 30
    assert pod.termination_message()["reason"] == "EngineStuck"
