"""What docs/ and the README show works: the API server accepts their YAML, and their commands run."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from support.builders.llmdeployments import at_zero
from support.cluster import AnyCluster, Kube, KubectlError, Operator, settled
from support.pages import documented
from support.pages.console import LANGUAGE, steps_of
from support.pages.documented import Kind, kind_of, name_of
from support.pages.markdown import Block
from support.pages.placeholders import filled
from support.pages.running import check
from support.pages.shell import Shell
from support.repository import ROOT

NAME = "llama-8b"
FOLDERS = ("charts", "manifests")
OWNERS = ("alice", "bob")
APPLIED = [it for it in documented.blocks("yaml") if kind_of(it) in (Kind.OBJECTS, Kind.SPEC)]


async def refusal_of(block: Block, kube: Kube) -> str:
    """Why the API server refuses one of its objects; empty: it accepts all."""
    for thing in documented.objects_in(block):
        thing["metadata"].pop("namespace", None)
        arguments = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "--filename=-")
        try:
            await kube.run(*arguments, stdin=json.dumps(thing))
        except KubectlError as error:
            return f"{name_of(block)}:{block.line}: {error}"
    return ""


async def test_the_api_server_accepts_the_yaml_of_all_pages(installed_cluster: Kube, kube: Kube) -> None:
    assert len(APPLIED) > 15
    assert [each for each in [await refusal_of(block, kube) for block in APPLIED] if each] == []


def reader(home: Path, cluster: AnyCluster, namespace: str) -> Shell:
    """A shell in a folder with the repository's files, whose kubectl is in this namespace."""
    shell = Shell.made(home, {"kubectl": cluster.kubectl}, cluster.kubeconfig)
    for folder in FOLDERS:
        (home / folder).symlink_to(ROOT / folder)
    for owner in OWNERS:
        (home / f"{owner}.txt").write_text(f"key-of-{owner}")
    own = home / "kubeconfig"
    ended = shell.run(f"kubectl config view --raw --minify > {own}")
    assert ended.code == 0, ended.lines
    shell = Shell(home, own)
    assert shell.run(f"kubectl config set-context --current --namespace={namespace}").code == 0
    return shell


@pytest.mark.parametrize("page", sorted(documented.RUN))
async def test_the_commands_of_a_page_run(
    page: str, slipway: Operator, kube: Kube, cluster: AnyCluster, tmp_path: Path
) -> None:
    await settled(kube, at_zero(NAME))
    values = {"NAME": NAME, "NAMESPACE": kube.namespace}
    shell = reader(tmp_path, cluster, kube.namespace)
    for block in documented.commands_of(page):
        if block.language == LANGUAGE:
            for step in steps_of(block):
                await asyncio.to_thread(check, step, shell, values)
        else:
            ended = await asyncio.to_thread(shell.run, filled(block.text, values))
            assert ended.code == 0, f"{page}:{block.line}: {ended.lines}"
