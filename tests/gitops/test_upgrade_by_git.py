"""The starter repository under the real Argo CD: Slipway is installed in sync waves, and an upgrade restarts no model.

KServe and KEDA are installed already: their charts can't be downloaded everywhere.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from slipway.api.names import SYNC_ANNOTATION
from slipway_devcluster import model as model_files
from slipway_devcluster import slipway as installation
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.components import SLIPWAY_NAMESPACE
from slipway_devcluster.slipway import OPERATOR_IMAGE
from support.builders.llmdeployments import GEMMA_CLAIM, sleeping_model
from support.cluster import Object, Settings, folder_claimed, own_namespace, previous_release
from support.cluster.gitops.argocd import ArgoCD
from support.cluster.gitops.argocd_processes import RESYNC
from support.cluster.gitops.models_in_git import model
from support.cluster.gitops.starter_repository import StarterRepository, removed
from support.cluster.previous_release import Previous
from support.cluster.releases import rolled_out
from support.load.sleeping_models import Request, SleepingModel, sleeping_models
from support.load.steady import steady_requests
from support.repository import CHARTS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(600, func_only=True),
]

APPLICATIONS = ("slipway-crds", "slipway", "namespaces", "accelerators")
IN_GIT = "dev.chat.in-git"
"""The Application of a model that gets no requests."""


@dataclass
class Models:
    """In a namespace of their own, and not in Git."""

    awake: SleepingModel
    asleep: SleepingModel

    async def templates(self) -> dict[str, Any]:
        """The pod templates that KServe writes: a changed one restarts the pods."""
        found = [await each.kube.get("deployment", each.predictor) for each in (self.awake, self.asleep)]
        return {each["metadata"]["name"]: each["spec"]["template"] for each in found}

    async def uid(self) -> str:
        return str((await self.awake.pod())["metadata"]["uid"])


@dataclass
class Upgrade:
    """The state before and after, and the requests in between."""

    templates: tuple[dict[str, Any], dict[str, Any]]
    uids: tuple[str, str]
    of_awake: list[Request]
    of_asleep: list[Request]
    pushed_at: float
    done_at: float


@pytest.fixture(scope="module")
def older(operator_pods: Cluster, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Previous]:
    older = previous_release.previous(operator_pods, settings, tmp_path_factory.mktemp("previous"))
    installation.remove_programs(operator_pods)  # so that no program of this release creates a model of the older one
    yield older
    installation.install(operator_pods, cache=settings.cache, steps=settings.steps)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home(
    argo: ArgoCD, older: Previous, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[StarterRepository]:
    """The older release is synced and healthy, with a model. Its other objects remain at the end."""
    home = StarterRepository(tmp_path_factory.mktemp("git"), left_out=("platform",))
    home.release(older.chart, older.values)
    model_source = {"uri": "hf://acme/nothing-GGUF", "revision": "0e9e39f249a1"}  # never downloaded
    home.write(IN_GIT.replace(".", "/"), model("in-git", model=model_source))
    home.push("Slipway")
    await argo.kube.apply(home.root)
    for name in (*APPLICATIONS, IN_GIT):
        await argo.until(name, timeout=240)
    await argo.until("root")
    yield home
    await removed(argo, *APPLICATIONS, namespaces=("chat", "chat-dev"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def models(
    home: StarterRepository, argo: ArgoCD, operator_pods: Cluster, settings: Settings
) -> AsyncIterator[Models]:
    """A model that serves, and a model that sleeps."""
    weights = model_files.ensure_gguf(settings.cache, settings.steps)
    async with (
        own_namespace(argo.kube) as kube,
        folder_claimed(kube, GEMMA_CLAIM, weights),
        sleeping_models(
            operator_pods, kube, sleeping_model("awake", scaling={"idleAfter": "30m"}), sleeping_model("asleep")
        ) as both,
    ):
        assert (await both[0].send(0)).status == 200
        yield Models(*both)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upgrade(
    home: StarterRepository, models: Models, argo: ArgoCD, operator_pods: Cluster, settings: Settings
) -> Upgrade:
    """Upgrades by a commit, while one model serves and the other is woken."""
    templates, uid = await models.templates(), await models.uid()
    archive = OPERATOR_IMAGE.loaded(operator_pods, settings.cache, settings.steps)
    async with steady_requests(models.awake) as of_awake:
        await asyncio.sleep(2)  # some requests are served by the older version
        pushed_at = time.monotonic()
        home.release(CHARTS / "slipway", installation.values_with(archive.name))
        await asyncio.to_thread(home.push, "A newer Slipway")
        await argo.refresh("slipway")
        async with steady_requests(models.asleep) as of_asleep:
            for each in (models.awake, models.asleep):
                await each.kube.wait_for("llmdeployment", each.name, has_update, timeout=180)
            await rolled_out(models.awake.kube.within(SLIPWAY_NAMESPACE))
            await argo.until("slipway", timeout=120)
            done_at = time.monotonic()
            await asyncio.sleep(2)  # and some by the newer version
    after = await models.templates(), await models.uid()
    return Upgrade((templates, after[0]), (uid, after[1]), of_awake, of_asleep, pushed_at, done_at)


def has_update(obj: Object) -> bool:
    return bool(obj.get("status", {}).get("update"))


def has_synced(application: Object) -> bool:
    """Whether Argo CD has recorded a sync of it."""
    return "operationState" in application.get("status", {})


async def test_sync_waves_are_applied_in_order(home: StarterRepository, argo: ArgoCD) -> None:
    names = (*APPLICATIONS, IN_GIT)
    found = [await argo.kube.wait_for("application", name, has_synced, timeout=120) for name in names]
    started = {each["metadata"]["name"]: str(each["status"]["operationState"]["startedAt"]) for each in found}
    assert started["slipway-crds"] < started["slipway"]
    assert started["slipway"] < min(started["namespaces"], started["accelerators"])
    assert max(started["namespaces"], started["accelerators"]) < started[IN_GIT]


async def test_a_newer_slipway_restarts_no_model(upgrade: Upgrade) -> None:
    assert upgrade.templates[0] == upgrade.templates[1]
    assert upgrade.uids[0] == upgrade.uids[1]


async def test_no_request_is_lost_during_the_upgrade(upgrade: Upgrade) -> None:
    requests = [*upgrade.of_awake, *upgrade.of_asleep]
    assert not [str(each) for each in requests if each.status != 200 or each.error or not each.text]
    assert any(each.ended < upgrade.pushed_at for each in upgrade.of_awake)
    assert any(each.was_held for each in upgrade.of_asleep)
    for requests in (upgrade.of_awake, upgrade.of_asleep):
        assert any(each.sent > upgrade.done_at for each in requests)


async def test_a_model_is_updated_by_a_manual_sync_and_self_heal_keeps_it(upgrade: Upgrade, argo: ArgoCD) -> None:
    kube = argo.kube.within("chat-dev")
    before = await kube.wait_for("llmdeployment", "in-git", has_update)
    await argo.act(IN_GIT, "sync", "LLMDeployment", "in-git")
    await kube.wait_for("llmdeployment", "in-git", lambda it: not has_update(it))
    await asyncio.sleep(2 * RESYNC)  # Argo CD checks whether there is something to heal
    after = await kube.get("llmdeployment", "in-git")
    assert SYNC_ANNOTATION in after["metadata"]["annotations"]
    assert after["status"]["made"]["version"] == before["status"]["update"]["version"]
    await argo.until(IN_GIT)
