"""slipway.kube is about Kubernetes alone: the programs pass the words of our product as arguments."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import slipway.kube

FOLDER = Path(slipway.kube.__file__).parent
VOCABULARY = {"kinds.py"}  # the table of kinds, which includes ours
FILES = sorted(file for file in FOLDER.glob("*.py") if file.name not in VOCABULARY)
WORDS = re.compile(
    r"slipway\.dev|llm_?deployment|inference_?service|activator|kserve|keda|vllm|llama|slipway-\w|owner_label"
    r"|service_label",
    re.IGNORECASE,
)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_package_kube_has_no_word_of_the_product(file: Path) -> None:
    found = [line for line in file.read_text().splitlines() if WORDS.search(line)]
    assert found == []
