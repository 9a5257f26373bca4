"""llama.cpp behind the guard answers as any engine has to: the same status and code for the same request."""

from __future__ import annotations

from pathlib import Path

from slipway.activator.picking import Replica
from support.activator import activated
from support.llamacpp_pod import LlamacppPod
from support.model_files import write_gguf
from support.same_answers import CONTEXT, LLAMACPP, differences


async def test_it_answers_as_any_engine_does_directly_and_by_the_activator(pod: LlamacppPod, tmp_path: Path) -> None:
    await pod.serve(write_gguf(tmp_path / "tiny.gguf"), f"--context-length={CONTEXT}", "--parallel=2")
    await pod.becomes_ready()
    assert await differences(pod.http, f"http://127.0.0.1:{pod.engine_port}", LLAMACPP) == []
    async with activated() as activator:
        activator.tell(replicas=(Replica("127.0.0.1", pod.engine_port, 100),))
        found = await differences(pod.http, f"http://127.0.0.1:{await activator.port()}", LLAMACPP)
    assert found == []
