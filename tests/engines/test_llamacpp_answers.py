"""llama.cpp behind the guard responds as every engine must: the same status and code for the same request."""

from __future__ import annotations

from pathlib import Path

from support.builders.model_files import write_gguf
from support.programs.api_conformance import CONTEXT, LLAMACPP, differences_in_all_ways
from support.programs.llamacpp_pod import LlamacppPod


async def test_it_responds_as_every_engine_does_to_every_kind_of_request(pod: LlamacppPod, tmp_path: Path) -> None:
    await pod.serve(write_gguf(tmp_path / "tiny.gguf"), f"--context-length={CONTEXT}", "--parallel=2")
    found = await differences_in_all_ways(pod, LLAMACPP)
    assert found == {"at zero": [], "held": [], "warm": [], "directly": []}
