"""llama.cpp behind the guard answers as any engine has to: the same status and code for the same request."""

from __future__ import annotations

from pathlib import Path

from support.llamacpp_pod import LlamacppPod
from support.model_files import write_gguf
from support.same_answers import CONTEXT, LLAMACPP, differences_in_all_ways


async def test_it_answers_as_any_engine_does_whichever_way_it_is_asked(pod: LlamacppPod, tmp_path: Path) -> None:
    await pod.serve(write_gguf(tmp_path / "tiny.gguf"), f"--context-length={CONTEXT}", "--parallel=2")
    found = await differences_in_all_ways(pod, LLAMACPP)
    assert found == {"at zero": [], "held": [], "warm": [], "directly": []}
