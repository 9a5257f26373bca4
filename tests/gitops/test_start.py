"""The first commands of docs/gitops.md, exactly as written, on a cluster with Argo CD, KServe and KEDA."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from slipway_devcluster import slipway as installation
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.slipway import OPERATOR_IMAGE
from support.cluster import Settings
from support.cluster.gitops.argocd import ArgoCD
from support.cluster.gitops.git_repository import git_environment
from support.cluster.gitops.starter_repository import removed
from support.repository import GITOPS, ROOT, commands

pytestmark = [
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(600, func_only=True),
]

APPLICATIONS = ("slipway-crds", "slipway", "namespaces", "accelerators")
MODELS = {"dev.chat.assistant": "chat-dev", "prod.chat.assistant": "chat"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def started(
    argo: ArgoCD, operator_pods: Cluster, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[str]:
    """The output of the last command."""
    folder = tmp_path_factory.mktemp("somebody")
    archive = OPERATOR_IMAGE.loaded(operator_pods, settings.cache, settings.steps)
    values = installation.values_with(archive.name)
    yield await asyncio.to_thread(run_the_commands, operator_pods, folder, json.dumps(values))
    await removed(argo, *APPLICATIONS, namespaces=MODELS.values())
    installation.install(operator_pods, cache=settings.cache, steps=settings.steps)


def run_the_commands(cluster: Cluster, folder: Path, values: str) -> str:
    """Runs them in a checkout, with an empty repository, and with the edit that the page requires before the third."""
    for part in ("manifests/argocd", "charts"):
        shutil.copytree(ROOT / part, folder / "slipway" / part)
    first, second, *rest, last = commands(GITOPS, after="Six commands")
    edits = ["rm apps/platform.yaml", f"echo {shlex.quote(values)} > values/slipway.yaml"]
    script = "\n".join(
        ["set -e", "git init -q --bare ../models.git", first, second, *edits, *rest, last.replace("--watch", "")]
    )
    assert (len(rest), "--watch" in last) == (3, True)
    script = script.replace("https://git.YOURS", f"file://{folder}")
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder / "slipway",
        env=surroundings(cluster, folder),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def surroundings(cluster: Cluster, folder: Path) -> dict[str, str]:
    path = f"{cluster.kubectl.parent}:{os.environ['PATH']}"
    return git_environment(HOME=str(folder), KUBECONFIG=str(cluster.kubeconfig), PATH=path)


async def test_the_commands_install_slipway_and_all_that_it_needs(started: str, argo: ArgoCD) -> None:
    assert "root" in started
    for name in ("root", *APPLICATIONS):
        await argo.until(name, timeout=240)


async def test_the_commands_install_the_models_of_the_example(started: str, argo: ArgoCD) -> None:
    """Synced, and planned or reported as not plannable: this cluster lacks what they need."""
    for application, namespace in MODELS.items():
        await argo.kube.wait_for("application", application, lambda app: app["status"]["sync"]["status"] == "Synced")
        kube = argo.kube.within(namespace)
        await kube.wait_for("llmdeployment", "assistant", lambda it: "state" in it.get("status", {}))
