"""The repository to start from, by the real Argo CD: Slipway comes in its waves, and a newer one restarts no model."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from slipway_devcluster import model as model_files
from slipway_devcluster import slipway as installation
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.components import SLIPWAY_NAMESPACE
from slipway_devcluster.slipway import OPERATOR_IMAGE
from support import argocd, previous
from support.argocd import ArgoCD
from support.charts import CHARTS
from support.clusters import Settings
from support.git_repository import GitRepository
from support.kube import Kube, Object
from support.namespaces import own_namespace
from support.previous import Previous
from support.releases import rolled_out
from support.sleepers import CLAIM, Sleeper, at_zero, sleepers
from support.volumes import folder_claimed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(600, func_only=True),
]

REPOSITORY = argocd.ROOT / "manifests/argocd/repository"
BROUGHT = ("slipway-crds", "slipway", "accelerators")
"""Of its Applications. KServe and KEDA are there already, and models are the test's own."""


class Home(GitRepository):
    """A copy of the repository to start from, with charts and values of a release."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        shutil.copytree(REPOSITORY, self.checkout, dirs_exist_ok=True)
        for left_out in ("platform", "models", "project"):
            (self.checkout / "apps" / f"{left_out}.yaml").unlink()
        for path in self.checkout.rglob("*.yaml"):
            path.write_text(path.read_text().replace("https://git.example.com/models.git", self.url))

    def release(self, chart: Path, values: dict[str, Any]) -> None:
        self.put(chart, "charts/slipway")
        self.put(CHARTS / "slipway-crds", "charts/slipway-crds")
        (self.checkout / "values/slipway.yaml").write_text(json.dumps(values))

    @property
    def root(self) -> Object:
        found: Object = yaml.safe_load((self.checkout / "root.yaml").read_text())
        return found


@pytest.fixture(scope="module")
def older(operator_pods: Cluster, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Previous]:
    yield previous.previous(operator_pods, settings, tmp_path_factory.mktemp("previous"))
    installation.install(operator_pods, cache=settings.cache, steps=settings.steps)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home(argo: ArgoCD, older: Previous, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Home]:
    """The older release is synced, and well. At the end its Applications go, and what they brought stays."""
    home = Home(tmp_path_factory.mktemp("git"))
    home.release(older.chart, older.values)
    home.push("Slipway")
    await argo.kube.apply(home.root)
    for name in BROUGHT:
        await argo.until(name, timeout=240)
    await argo.until("root")
    yield home
    await argo.kube.run("delete", "applications", "root", *BROUGHT)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def models(home: Home, argo: ArgoCD, operator_pods: Cluster, settings: Settings) -> AsyncIterator[list[Sleeper]]:
    """One that serves, and one that sleeps."""
    weights = model_files.ensure_gguf(settings.cache, settings.steps)
    async with (
        own_namespace(argo.kube) as kube,
        folder_claimed(kube, CLAIM, weights),
        sleepers(operator_pods, kube, at_zero("awake", scaling={"idleAfter": "30m"}), at_zero("asleep")) as models,
    ):
        assert (await models[0].answered(0)).status == 200
        yield models


async def test_what_comes_in_waves_comes_in_their_order(home: Home, argo: ArgoCD) -> None:
    finished = {name: (await argo.kube.get("application", name))["status"]["operationState"] for name in BROUGHT}
    assert sorted(finished, key=lambda name: str(finished[name]["startedAt"])) == list(BROUGHT)


async def test_a_newer_slipway_restarts_no_model(
    home: Home, models: list[Sleeper], argo: ArgoCD, operator_pods: Cluster, settings: Settings
) -> None:
    kube = models[0].kube
    before, pod = await templates(models), await models[0].pod()
    archive = OPERATOR_IMAGE.loaded(operator_pods, settings.cache, settings.steps)
    home.release(CHARTS / "slipway", installation.values_with(archive.name))
    home.push("A newer Slipway")
    await argo.refresh("slipway")
    for each in models:
        await kube.wait_for("llmdeployment", each.name, lambda it: bool(it["status"].get("update")), timeout=180)
    await rolled_out(kube.within(SLIPWAY_NAMESPACE))
    await argo.until("slipway", timeout=120)
    assert await templates(models) == before
    assert (await models[0].pod())["metadata"]["uid"] == pod["metadata"]["uid"]
    for each in models:
        assert (await each.answered(1)).status == 200


async def templates(models: list[Sleeper]) -> dict[str, Any]:
    """By what KServe has the pods made: another one, and they restart."""
    return {each.name: (await predictor(each.kube, each))["spec"]["template"] for each in models}


async def predictor(kube: Kube, sleeper: Sleeper) -> Object:
    return await kube.get("deployment", sleeper.predictor)
