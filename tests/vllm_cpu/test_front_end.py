"""vLLM's own web server, as strangers reach it: in the fast start and in the ordinary one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support.vllm_pod import VllmPod

pytestmark = pytest.mark.timeout(1800)

WITHOUT_LIMITS = """
from uvicorn.protocols.http import auto, httptools_impl
from slipway_runtime.engines import connection
connection.limit_uvicorn = lambda: setattr(auto, "AutoHTTPProtocol", httptools_impl.HttpToolsProtocol)
"""


async def told(pod: VllmPod, sent: bytes) -> bytes:
    """All that is said until the server has said enough."""
    reader, writer = await asyncio.open_connection("127.0.0.1", pod.engine_port)
    writer.write(sent)
    try:
        return await reader.readuntil(b"}}")
    finally:
        writer.transport.abort()


@pytest.mark.parametrize("start", ["fast", "ordinary"])
async def test_a_head_without_an_end_is_refused(pod: VllmPod, tiny: Path, start: str) -> None:
    await pod.serve(tiny, f"--start={start}")
    await pod.becomes_ready()
    assert (start == "fast") == any("fast start" in line for line in pod.said)
    assert not [line for line in pod.said if "the ordinary way" in line]
    answer = await told(pod, b"GET /health HTTP/1.1\r\nx: " + b"x" * (200 << 10))
    assert answer.startswith(b"HTTP/1.1 431")
    assert b'"head_too_long"' in answer
    pod.stop()
    assert await pod.ends() == 0


async def test_a_web_server_that_takes_no_limits_is_not_served(pod: VllmPod, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_LIMITS)
    pod.environment = {**(pod.environment or {})}
    pod.environment["PYTHONPATH"] += f":{tmp_path}"
    await pod.serve(tiny, "--start=ordinary")
    assert await pod.ends() == 50
    assert "requests of any size" in pod.told()["message"]
