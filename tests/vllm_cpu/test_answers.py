"""vLLM behind the guard answers as any engine has to: the same status and code for the same request."""

from __future__ import annotations

from pathlib import Path

import pytest
from slipway.activator.picking import Replica
from support.activator import activated
from support.model_files import write_checkpoint
from support.same_answers import CONTEXT, VLLM, differences
from support.vllm_pod import VllmPod

pytestmark = pytest.mark.timeout(1800)

TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"


async def test_it_answers_as_any_engine_does_directly_and_by_the_activator(pod: VllmPod, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "template").write_text(TEMPLATE)
    model = write_checkpoint(tmp_path / "model", max_position_embeddings=CONTEXT)
    await pod.serve(model, flags=(f"--max-model-len={CONTEXT}", f"--chat-template={tmp_path / 'template'}"))
    await pod.becomes_ready()
    assert await differences(pod.http, f"http://127.0.0.1:{pod.engine_port}", VLLM) == []
    async with activated() as activator:
        activator.tell(replicas=(Replica("127.0.0.1", pod.engine_port, 100),))
        found = await differences(pod.http, f"http://127.0.0.1:{await activator.port()}", VLLM)
    assert found == []
