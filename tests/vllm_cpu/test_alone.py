"""What vLLM does when it is process 1 itself: why there is a runtime around it, and whether it is still needed.

A test here that fails means that vLLM has improved; then a part of our runtime may be removed.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import aiohttp
import pytest
from support.programs.vllm_pod import VllmPod

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

READY = "Application startup complete"


def test_its_command_does_not_run_with_the_wheel_for_cpus(python: Path) -> None:
    ended = subprocess.run([python, "-m", "vllm.entrypoints.cli.main", "--version"], capture_output=True, check=False)
    assert ended.returncode == 1
    assert b"PackageNotFoundError" in ended.stderr


async def test_its_key_protects_only_some_paths_and_its_drain_keeps_the_port_open(pod: VllmPod, tiny: Path) -> None:
    await pod.serve_alone(tiny, "--api-key=secret", "--shutdown-timeout=5")
    with pytest.raises(aiohttp.ClientConnectionError):
        await pod.http.get(f"{pod.url}/health")  # not before it serves
    await pod.until_serving()
    body = {"model": pod.model, "prompt": "Hi", "max_tokens": 1}
    async with pod.http.post(f"{pod.url}/invocations", json=body) as open_door:
        assert open_door.status == 200
    pod.headers = {"Authorization": "Bearer secret"}
    async with pod.long_stream(60_000):
        pod.stop()
        await pod.until_logged("shutdown")
        async with pod.http.get(f"{pod.url}/health") as health:
            assert health.status == 200
        async with await pod.completion(prompt="Hi", max_tokens=1) as answer:
            assert answer.status in (200, 500)  # an empty success, or an error: no client retries later
            assert answer.status == 500 or (await answer.json())["choices"][0]["finish_reason"] == "abort"


async def test_it_ignores_a_stop_during_loading(pod: VllmPod, tiny: Path) -> None:
    await pod.serve_alone(tiny)
    await pod.until_logged("Starting to load model")
    pod.stop()
    await pod.until_logged(READY)


async def test_it_reports_the_death_of_its_engine_as_a_success(pod: VllmPod, tiny: Path) -> None:
    await pod.serve_alone(tiny)
    await pod.until_logged(READY)
    os.kill(pod.process_named("VLLM::EngineCore"), signal.SIGKILL)
    assert await pod.until_ended() == 0
