"""vLLM's own web server, as any client reaches it, after the ordinary start; after the fast one: test_serves.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.programs.vllm_pod import VllmPod

pytestmark = pytest.mark.timeout(1800)

WITHOUT_LIMITS = """
from uvicorn.protocols.http import auto, httptools_impl
from slipway_runtime.engines import connection
connection.limit_uvicorn = lambda: setattr(auto, "AutoHTTPProtocol", httptools_impl.HttpToolsProtocol)
"""


async def test_a_head_without_an_end_is_refused(pod: VllmPod, tiny: Path) -> None:
    await pod.serve(tiny, "--start=ordinary")
    await pod.until_ready()
    assert not [line for line in pod.log_lines if "fast start" in line or "the ordinary way" in line]
    assert await pod.refuses_a_head_without_an_end()
    pod.stop()
    assert await pod.until_ended() == 0


@pytest.mark.slow
async def test_a_web_server_without_limits_is_not_served(pod: VllmPod, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_LIMITS)
    pod.environment = {**(pod.environment or {})}
    pod.environment["PYTHONPATH"] += f":{tmp_path}"
    await pod.serve(tiny, "--start=ordinary")
    assert await pod.until_ended() == 50
    assert "requests of any size" in pod.termination_message()["message"]
