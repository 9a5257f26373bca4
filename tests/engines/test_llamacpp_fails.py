"""`slipway-runtime serve llamacpp` with Gemma, when something goes wrong: it ends, and says why."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from pathlib import Path

import aiohttp
import pytest
from slipway_runtime.supervisor.processes import children
from support.builders.model_files import LLAMA_GGUF, cut, without, write_gguf
from support.programs.llamacpp_pod import LlamacppPod


def engine_of(pod: LlamacppPod) -> int:
    [pid] = children(pod.process.pid)
    return pid


async def test_a_killed_engine_ends_the_pod_and_no_response_looks_complete(pod: LlamacppPod, gemma: Path) -> None:
    await pod.serve(gemma)
    await pod.until_ready()
    async with pod.long_stream() as answer:
        os.kill(engine_of(pod), signal.SIGKILL)
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
    assert await pod.until_ended() == 40
    assert (pod.termination_message()["reason"], pod.termination_message()["phase"]) == ("EngineCrashed", "ready")
    assert "SIGKILL" in pod.termination_message()["message"]


@pytest.mark.slow
async def test_a_hung_engine_is_detected_within_30_seconds(pod: LlamacppPod, gemma: Path) -> None:
    await pod.serve(gemma)
    await pod.until_ready()
    os.kill(engine_of(pod), signal.SIGSTOP)
    hung_at = time.monotonic()
    assert await pod.until_ended() == 42
    assert time.monotonic() - hung_at < 30
    assert pod.termination_message()["reason"] == "EngineStuck"


@pytest.mark.slow
async def test_an_engine_that_computes_for_long_is_left_alone(pod: LlamacppPod, gemma: Path) -> None:
    """A prompt that takes many times the limit of silence, without a token meanwhile."""
    await pod.serve(gemma, "--context-length=8192", "--parallel=1", "--stuck-after=2")
    await pod.until_ready()
    asked_at = time.monotonic()
    async with await pod.completion(prompt="word " * 8000, max_tokens=1, stream=True) as answer:
        assert b"[DONE]" in await answer.read()
    assert time.monotonic() - asked_at > 4
    assert (await pod.get("/livez"))[0] == 200


async def test_a_corrupt_model_is_named_before_the_engine_is_started(
    pod: LlamacppPod, gemma: Path, tmp_path: Path
) -> None:
    file = Path(shutil.copy(gemma, tmp_path))
    cut(file, to=0.9)
    await pod.serve(file)
    assert await pod.until_ended() == 12
    assert not any("loading model" in line for line in pod.log_lines)
    assert pod.termination_message()["reason"] == "ModelCorrupt"


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (without(LLAMA_GGUF, "tokenizer.ggml.tokens"), "ModelCorrupt"),
        (LLAMA_GGUF | {"general.architecture": "hal9000"}, "UnsupportedArchitecture"),
    ],
)
async def test_the_fault_of_a_model_is_named(
    pod: LlamacppPod, tmp_path: Path, facts: dict[str, object], reason: str
) -> None:
    await pod.serve(write_gguf(tmp_path / "model.gguf", facts))
    assert await pod.until_ended() != 0
    assert pod.termination_message()["reason"] == reason


async def test_an_address_in_use_is_named(pod: LlamacppPod, gemma: Path) -> None:
    with socket.create_server(("127.0.0.1", pod.engine_port)):
        await pod.serve(gemma)
        assert await pod.until_ended() == 2
    assert pod.termination_message()["reason"] == "BadEngineArguments"
