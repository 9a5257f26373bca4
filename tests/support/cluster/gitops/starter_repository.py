"""The starter repository as a user has copied it: with charts, a release's values, and a test's models."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from support import repository
from support.builders import objects
from support.builders.objects import Object
from support.cluster.gitops import argocd
from support.cluster.gitops.argocd import ArgoCD
from support.cluster.gitops.git_repository import GitRepository
from support.repository import CHARTS

REPOSITORY = repository.ROOT / "manifests/argocd/repository"
NAMES_ANOTHER = "https://git.example.com/models.git"


SET = "models"
PROJECTS = ("models-dev", "models-prod")


class StarterRepository(GitRepository):
    """A copy. `left_out`: Applications whose objects are in the cluster already, or can't be fetched here."""

    def __init__(self, folder: Path, *, left_out: Collection[str]) -> None:
        super().__init__(folder)
        shutil.copytree(REPOSITORY, self.checkout, dirs_exist_ok=True)
        for name in left_out:
            (self.checkout / "apps" / f"{name}.yaml").unlink()
        for path in self.checkout.rglob("*.yaml"):
            path.write_text(path.read_text().replace(NAMES_ANOTHER, self.url))
        shutil.rmtree(self.checkout / "models")  # their weights can't be fetched, and no node here has their devices

    @property
    def root(self) -> Object:
        found: Object = yaml.safe_load((self.checkout / "root.yaml").read_text())
        return found

    def release(self, chart: Path, values: dict[str, Any]) -> None:
        self.put(chart, "charts/slipway")
        self.put(CHARTS / "slipway-crds", "charts/slipway-crds")
        (self.checkout / "values/slipway.yaml").write_text(json.dumps(values))

    def model(self, place: str) -> Path:
        """Returns the file of a model; `place` is like dev/chat/assistant."""
        return self.checkout / "models" / place / "model.yaml"

    def write(self, place: str, thing: Object | str) -> None:
        """Writes a model; a string is written as it is."""
        if isinstance(thing, str):
            self.model(place).parent.mkdir(parents=True, exist_ok=True)
            self.model(place).write_text(thing)
        else:
            argocd.written(self.model(place), thing)

    def write_namespace(self, name: str) -> None:
        argocd.written(self.checkout / "namespaces" / f"{name}.yaml", objects.namespace(name))

    def remove(self, place: str) -> None:
        shutil.rmtree(self.model(place).parent)

    def promote(self, place: str) -> None:
        """Runs the promotion, and merges its pull request."""
        self.run("./promote", place)
        self.merge()


async def removed(argo: ArgoCD, *applications: str, namespaces: Collection[str]) -> None:
    """Deletes its models, then their project and namespaces. The other objects of its Applications stay."""
    await argo.kube.run("delete", "application", "root")
    await argo.kube.run("delete", "applicationset", SET, "--cascade=foreground", "--timeout=120s")
    await argo.kube.run("delete", "application", *applications)
    await argo.kube.run("delete", "appproject", *PROJECTS)
    await argo.kube.run("delete", "acceleratorprofile", "rtx-a4000")
    await argo.kube.run("delete", "namespace", *namespaces, "--ignore-not-found", "--wait=false")
