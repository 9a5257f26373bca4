"""docs/concepts/one-completion.md names files and functions of vLLM; the version of vLLM that is installed has them."""

from __future__ import annotations

import re
from pathlib import Path

from support.repository import ROOT

PAGE = (ROOT / "docs/concepts/one-completion.md").read_text()


def test_the_functions_of_vllm_that_the_walk_of_a_completion_names_exist(python: Path) -> None:
    [packages] = python.parents[1].glob("lib/python*/site-packages")
    named = re.findall(r"`(vllm/[\w/]+\.py)`((?:,?\s`[\w.]+`)+)", PAGE)
    sources = {path: (packages / path).read_text() for path, _ in named}
    definitions = [(path, name) for path, names in named for name in re.findall(r"`([\w.]+)`", names)]
    assert len(definitions) > 10
    home = {name.partition(".")[0]: path for path, name in definitions}
    alone = [(home[name], f"{name}.{method}") for name, method in re.findall(r"`(\w+)\.(\w+)`", PAGE) if name in home]
    for path, name in {*definitions, *alone}:
        missing = [part for part in name.split(".") if not re.search(rf"\b(?:class|def) {part}\b", sources[path])]
        assert not missing, f"{path} has no {missing}"
