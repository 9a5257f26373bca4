"""The commands in the documentation use values that the charts have, and install and remove everything."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from slipway.api.names import RUNTIME_LABEL
from support.builders.objects import Object
from support.charts.helm import KUBERNETES, rendered, run, with_runtimes
from support.pages import documented
from support.pages.markdown import Block
from support.repository import CHARTS, README, ROOT, blocks

PAGES = (README, *sorted((ROOT / "docs").rglob("*.md")))
INSTALL = (ROOT / "docs/install.md").read_text()
VERBS = ("install", "upgrade", "template")
TAKES_ONE = ("--set", "--namespace")
FLAGS = (*TAKES_ONE, "--skip-tests")


def commands(text: str) -> Iterator[list[str]]:
    """The helm commands with one of Slipway's charts, each up to a pipe."""
    for block in blocks(text):
        for line in block.replace("\\\n", " ").splitlines():
            if not line.lstrip().startswith("helm "):
                continue  # other commands may be written over several lines
            words = shlex.split(line.partition("|")[0], comments=True)
            if words[1] in VERBS and chart_of(words).is_dir():
                yield words


def chart_of(words: list[str]) -> Path:
    """A chart of a release, in dist/, is the one in this checkout."""
    [named] = [word for word in words if word.startswith(("charts/", "dist/"))] or ["none"]
    return CHARTS / re.sub(r"-\d.*|\.tgz$", "", Path(named).name)


def rendered_by(words: list[str]) -> list[Object]:
    arguments = [word for at, word in enumerate(words) if word in FLAGS or words[at - 1] in TAKES_ONE]
    text = run("template", chart_of(words).name, chart_of(words), f"--kube-version={KUBERNETES}", *arguments)
    return [*with_runtimes(manifest for manifest in yaml.load_all(text, Loader=yaml.CSafeLoader) if manifest)]


DOCUMENTED = [words for page in PAGES for words in commands(page.read_text())]
WITH_VALUES = [words for words in DOCUMENTED if "--set" in words and chart_of(words).name != "slipway-platform"]


@pytest.mark.parametrize("words", WITH_VALUES, ids=" ".join)
def test_values_in_commands_are_those_that_the_charts_have(words: list[str]) -> None:
    assert rendered_by(words)


OF_PAGES = [block for block in documented.blocks("yaml") if documented.kind_of(block) is documented.Kind.VALUES]


@pytest.mark.parametrize("block", OF_PAGES, ids=lambda block: f"{documented.name_of(block)}:{block.line}")
def test_values_in_blocks_are_those_that_the_chart_has(block: Block) -> None:
    assert rendered("slipway", yaml.safe_load(block.text))


def names(manifests: list[Object]) -> set[tuple[str, str]]:
    return {(manifest["kind"], re.sub(r"-[0-9a-f]{8}$", "", manifest["metadata"]["name"])) for manifest in manifests}


def test_kubectl_installs_what_helm_installs_except_the_self_test() -> None:
    by_kubectl = [words for words in commands(INSTALL) if words[1] == "template"]
    installed = names([manifest for words in by_kubectl for manifest in rendered_by(words)])
    by_helm = names([*rendered("slipway-crds"), *rendered("slipway")])
    assert installed == by_helm - {("Pod", "slipway-selftest")}
    assert all("--kube-version" in words and "--namespace" in words for words in by_kubectl)
    assert all("--set" in words for words in by_kubectl if chart_of(words).name == "slipway")  # where its images are


def test_the_install_command_after_the_platform_chart_sets_kedas_namespace() -> None:
    of_platform = [words for words in commands(INSTALL) if chart_of(words).name == "slipway-platform"]
    [namespace] = {words[words.index("--namespace") + 1] for words in of_platform}
    for page in (INSTALL, (ROOT / "docs/quickstart.md").read_text()):
        assert f"--set platform.kedaNamespace={namespace}" in page


def test_the_instructions_to_remove_everything_delete_what_an_uninstall_keeps() -> None:
    _, _, remove = INSTALL.partition("To remove all")
    assert f"kubectl delete clusterservingruntimes --selector {RUNTIME_LABEL}\n" in remove
    assert "kubectl delete --filename crds/" in remove
