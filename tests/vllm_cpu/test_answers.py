"""vLLM behind the guard responds as every engine must: the same status and code for the same request."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.builders.model_files import write_checkpoint
from support.programs.api_conformance import CONTEXT, FLAGS, VLLM, differences_in_all_ways
from support.programs.vllm_pod import VllmPod

pytestmark = pytest.mark.timeout(1800)

TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"


async def test_it_responds_as_every_engine_does_to_every_kind_of_request(pod: VllmPod, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "template").write_text(TEMPLATE)
    model = write_checkpoint(tmp_path / "model", max_position_embeddings=CONTEXT)
    flags = (f"--max-model-len={CONTEXT}", f"--chat-template={tmp_path / 'template'}")
    await pod.serve(model, flags=(*flags, *FLAGS[VLLM]))
    found = await differences_in_all_ways(pod, VLLM)
    assert found == {"at zero": [], "held": [], "warm": [], "directly": []}
