"""Restore from nothing, the way of Git: Argo CD brings Slipway and a model to a cluster that has neither."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from slipway_devcluster import slipway as installation
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.components import SLIPWAY_NAMESPACE
from support.builders.llmdeployments import NAME
from support.cluster import Kube, Settings, folder_claimed
from support.cluster.gitops import argocd
from support.cluster.gitops.argocd import ArgoCD
from support.cluster.gitops.starter_repository import StarterRepository
from support.faults.runbook_faults import CLAIM, tiny
from support.monitoring.installed import install
from support.pages.shell import Shell
from support.pages.walking import Walk, runbook
from support.repository import CHARTS, in_checkout

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900, func_only=True)]

PLACE, TEAM = f"dev/chat/{NAME}", "chat-dev"
PATIENCE = 300.0


@pytest.fixture
async def nothing(node: Cluster, whole: Kube, settings: Settings) -> AsyncIterator[Kube]:
    """The cluster without Slipway and its types; KServe and KEDA stay, whose charts can't be downloaded everywhere."""
    for release in ("slipway", "slipway-crds"):
        await asyncio.to_thread(node.run_helm, ["uninstall", release, f"--namespace={SLIPWAY_NAMESPACE}", "--wait"])
    listed = (await whole.run("get", "crds", "--output=name")).split()
    for each in (name for name in listed if name.endswith(".slipway.dev")):
        await whole.run("delete", each)
    yield whole
    await asyncio.to_thread(install, node, whole, settings)


@pytest.fixture
async def argo(nothing: Kube, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ArgoCD]:
    folder = tmp_path_factory.mktemp("argocd")
    async with argocd.running(nothing, settings.cache, settings.steps, folder) as argo:
        yield argo
    await nothing.run("delete", "namespace", "chat", TEAM, "--ignore-not-found", "--wait=false")


@pytest.fixture
def repository(shell: Shell, settings: Settings, tmp_path: Path) -> StarterRepository:
    """What is left of the old cluster: a Git repository, of which the reader has a checkout."""
    repository = StarterRepository(tmp_path / "git", left_out=("platform",))
    archive = installation.OPERATOR_IMAGE.built(settings.cache, settings.steps)
    repository.release(CHARTS / "slipway", installation.values_with(archive.name))
    repository.write(PLACE, tiny())
    repository.push("What the old cluster had")
    in_checkout(shell.home)
    (shell.home / "models").symlink_to(repository.checkout)
    return repository


async def test_models_come_back_from_git(
    argo: ArgoCD, repository: StarterRepository, nothing: Kube, models: Path, shell: Shell
) -> None:
    fault = "A cluster without Slipway, and a Git repository with a release and a model."
    walk = Walk(runbook("restore-from-nothing"), shell, {"NAMESPACE": TEAM, "NAME": NAME}, fault)
    team = nothing.within(TEAM)
    claimed = asyncio.create_task(claim_once_there_is_a_namespace(team, models))
    try:
        await walk.through("Steps", "From Git")
        await walk.through("Check")
    finally:
        claimed.cancel()
    walk.saw("Slipway was installed, and the model served.")
    walk.record()


async def claim_once_there_is_a_namespace(team: Kube, models: Path) -> None:
    """Restores the model's files, as from a snapshot, and keeps them until the task is cancelled."""
    await team.wait_for("namespace", team.namespace, lambda _: True, timeout=PATIENCE)
    async with folder_claimed(team, CLAIM, models):
        await asyncio.Event().wait()
