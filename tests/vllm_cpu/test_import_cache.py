"""The cached surveys of transformers and Python equal what they would compute themselves."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from slipway_runtime.faststart import import_cache
from support.programs import vllm_environment

pytestmark = pytest.mark.timeout(300)

FOUND = """
import os
from importlib import metadata
from pathlib import Path
from slipway_runtime.faststart import import_cache
import_cache.install(os.environ)
import transformers
from transformers.utils.import_utils import create_import_structure_from_path as survey

def plain(found):
    if not isinstance(found, dict):
        return sorted(found)
    names = {key: str(sorted(key)) if isinstance(key, frozenset) else key for key in found}
    return sorted([names[key], plain(found[key])] for key in found)

print(plain(metadata.packages_distributions()), plain(survey(Path(transformers.__file__).parent / "models")))
print(transformers.LlamaForCausalLM.__name__, transformers.AutoTokenizer.__name__)
"""


@pytest.mark.slow
def test_a_later_start_finds_in_the_cache_what_one_without_a_cache_computes(python: Path, tmp_path: Path) -> None:
    uncached = survey(python, "")
    first, later = (survey(python, str(tmp_path / "survey")) for _ in range(2))
    assert len(list(tmp_path.iterdir())) == 2
    assert "llama" in uncached
    assert uncached == first
    assert uncached == later


def survey(python: Path, cache: str) -> str:
    environment = {**vllm_environment.environment(python), import_cache.ENVIRONMENT: cache}
    return subprocess.check_output([python, "-P", "-c", FOUND], env=environment, text=True)
