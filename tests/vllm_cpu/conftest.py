"""Process 1 with a real vLLM on CPUs, as processes of this machine."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from slipway_devcluster import model
from slipway_devcluster.errors import Refusal
from slipway_devcluster.paths import default_cache
from slipway_devcluster.progress import Steps
from support.builders.model_files import write_checkpoint
from support.programs import vllm_environment
from support.programs.vllm_pod import VllmPod

LONG = 65536  # tokens: enough for a response that takes minutes
REQUIRED = "SLIPWAY_VLLM"


@pytest.fixture(scope="session")
def python() -> Path:
    """The Python of an environment with vLLM; without one, these tests are skipped, unless SLIPWAY_VLLM=required."""
    cache = default_cache()
    try:
        return vllm_environment.ensure(cache, Steps(cache))
    except Refusal as refusal:
        reason = f"vLLM for CPUs can't be installed here: {refusal}"
    if os.environ.get(REQUIRED) == "required":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def gemma() -> Path:
    """The demo model as vLLM reads it, converted once."""
    cache = default_cache()
    return model.ensure_hf(cache, Steps(cache))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama with random weights, which generates nonsense quickly."""
    return write_checkpoint(tmp_path_factory.mktemp("tiny"), max_position_embeddings=LONG)


@pytest.fixture
async def pod(tmp_path: Path, python: Path) -> AsyncIterator[VllmPod]:
    """A pod that isn't started yet."""
    async with aiohttp.ClientSession() as http, VllmPod(tmp_path, http, python) as pod:
        yield pod
