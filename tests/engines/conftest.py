"""Process 1 with a real engine and a real model, as processes of this machine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from slipway_devcluster import model
from slipway_devcluster.paths import default_cache
from slipway_devcluster.progress import Steps
from support.programs.llamacpp_pod import LlamacppPod


@pytest.fixture(scope="session")
def gemma() -> Path:
    """The demo model as GGUF, downloaded once."""
    cache = default_cache()
    return model.ensure_gguf(cache, Steps(cache)) / model.GGUF_FILE


@pytest.fixture
async def pod(tmp_path: Path) -> AsyncIterator[LlamacppPod]:
    """A pod that isn't started yet."""
    async with aiohttp.ClientSession() as http:
        pod = LlamacppPod(tmp_path, http)
        yield pod
        await pod.kill()
