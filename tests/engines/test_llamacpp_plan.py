"""What a plan says of llama.cpp's memory, next to what the real engine takes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from slipway.models.facts import Model
from slipway.models.inspected import model_of_inspection
from slipway.operator.planning.memory import llamacpp
from slipway.operator.planning.memory.settings import GIB, Device, Settings
from support.programs.llamacpp_pod import LlamacppPod


def inspected(path: Path, folder: Path) -> Model:
    """As the operator knows it from a Job."""
    command = [sys.executable, "-m", "slipway_runtime", "inspect", f"--report={folder / 'report'}", str(path)]
    printed = subprocess.run(command, capture_output=True, check=True).stdout
    model = model_of_inspection(json.loads(printed))
    assert model
    assert not model.missing
    return model


@pytest.mark.parametrize(("length", "slots"), [(4096, 4), (8192, 1), (300, 3)])
async def test_the_planned_cache_is_the_one_that_it_allocates_and_the_rest_is_no_less(
    pod: LlamacppPod, gemma: Path, tmp_path: Path, length: int, slots: int
) -> None:
    await pod.serve(gemma, f"--context-length={length}", f"--parallel={slots}")
    await pod.until_ready()
    await pod.until_response_has("/info", '"devices"')
    measured = (await pod.info())["measured"]
    model = inspected(gemma, tmp_path)
    run = Settings(sequences=slots, batched_tokens=512, slots=slots)
    memory = llamacpp.divide(model, Device(total=4 * GIB), run, context_length=length, slots=slots)
    assert memory.kv_cache == measured["kvCache"]
    assert memory.weights == pytest.approx(measured["weights"], rel=0.05)
    assert memory.activation >= measured["activation"]
