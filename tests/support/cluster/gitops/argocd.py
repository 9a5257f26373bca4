"""The real Argo CD without its UI: its command line, and all of its parts for a cluster.

Its objects are in a namespace of the cluster, and it syncs to that same cluster.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from slipway_devcluster.builds import Build, discard_go_caches, ensure_built, missing
from slipway_devcluster.paths import Cache
from slipway_devcluster.progress import Steps

from support.builders import objects
from support.builders.objects import Object
from support.cluster.gitops import redis_server
from support.cluster.gitops.argocd_processes import NAMESPACE, Parts
from support.cluster.kube import Kube
from support.cluster.report import namespace_sections
from support.repository import ROOT

UPSTREAM = "argocd"
CONFIG_MAP = ROOT / "manifests/argocd/argocd-cm.yaml"
IN_CLUSTER = "https://kubernetes.default.svc"

SERVER_SIDE = "ServerSideDiff=true,IncludeMutationWebhook=true"
OWN = ""
"""Argo CD's own three-way comparison."""
COMPARISONS = (SERVER_SIDE, OWN)


def built(cache: Cache, steps: Steps) -> Build:
    """Builds Argo CD, which takes three minutes on two cores the first time."""
    absent = missing([UPSTREAM], cache)
    build = ensure_built(UPSTREAM, cache, steps)
    if absent:
        discard_go_caches(cache)
    return build


# --- its command line, without a cluster -----------------------------------------------------------------------------


@dataclass(frozen=True)
class CommandLine:
    """Argo CD's command line, with the ConfigMap of this repository. `folder` is for temporary files."""

    build: Build
    folder: Path

    def health(self, thing: Path) -> dict[str, str]:
        lines = (line.partition(": ") for line in self._ask("health", thing).splitlines())
        found = {name.rstrip(":").lower(): value for name, _, value in lines}
        return {name: value for name, value in found.items() if value}

    def actions(self, thing: Path) -> dict[str, bool]:
        """Returns for each action whether it is disabled."""
        _, *rows = self._ask("list-actions", thing).splitlines()
        return {name: disabled == "true" for name, disabled in map(str.split, rows)}

    def acted(self, thing: Path, action: str) -> Object:
        return self._target(self._ask("run-action", thing, action))

    def compared(self, thing: Path) -> Object:
        """Returns the object without the fields that Argo CD ignores when it compares."""
        return self._target(self._ask("ignore-differences", thing))

    def _target(self, said: str) -> Object:
        """Reads the desired object: argocd shows a difference by running a program with two files, and this is the
        second."""
        found: Object = yaml.load(said[said.index("apiVersion:") :], yaml.CSafeLoader)
        return found

    def _ask(self, what: str, *arguments: str | Path) -> str:
        shows = self.folder / "shows-the-second"
        shows.write_text('#!/bin/sh\nexec cat "$2"\n')
        shows.chmod(0o755)
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "KUBECTL_EXTERNAL_DIFF": str(shows)}
        command = [self.build.binary("argocd"), "admin", "settings", "resource-overrides", what, *arguments]
        done = subprocess.run(
            [*command, f"--argocd-cm-path={CONFIG_MAP}"], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return str(done.stdout)


# --- its parts, on a cluster -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ArgoCD:
    """A running Argo CD, seen from the namespace of its Applications."""

    kube: Kube
    parts: Parts
    server: str  # the address of its API

    async def refresh(self, name: str) -> None:
        """Makes it read Git now instead of at the next interval."""
        await self.kube.run("annotate", "application", name, "argocd.argoproj.io/refresh=normal", "--overwrite")

    async def refresh_set(self, name: str) -> None:
        """Makes it generate the Applications of an ApplicationSet now."""
        annotation = "argocd.argoproj.io/application-set-refresh=true"
        await self.kube.run("annotate", "applicationset", name, annotation, "--overwrite")

    async def act(self, name: str, action: str, kind: str, resource: str) -> None:
        """Runs an action, as a person does by the UI or the command line."""
        command = ["app", "actions", "run", name, action, f"--kind={kind}", f"--resource-name={resource}"]
        await asyncio.to_thread(self.parts.command, *command, f"--server={self.server}", "--plaintext")

    async def until(self, name: str, *, sync: str = "Synced", health: str = "Healthy", timeout: float = 60) -> Object:
        def is_so(app: Object) -> bool:
            return (sync_of(app), health_of(app)) == (sync, health)

        return await self.kube.wait_for("application", name, is_so, timeout=timeout)

    def report_sections(self) -> Iterator[tuple[str, str]]:
        """Returns what a failed test shows: the ends of its logs, and the namespace of its Applications."""
        for path in sorted(self.parts.folder.glob("*.log")):
            yield path.name, "\n".join(path.read_text(errors="replace").splitlines()[-60:])
        yield from namespace_sections(self.kube)


def sync_of(app: Object) -> str:
    return str(app.get("status", {}).get("sync", {}).get("status", ""))


def health_of(app: Object) -> str:
    return str(app.get("status", {}).get("health", {}).get("status", ""))


def health_of_resources(app: Object, kind: str) -> dict[str, dict[str, str]]:
    """Returns the health of the resources of a kind, by their names."""
    found = (each for each in app.get("status", {}).get("resources") or [] if each["kind"] == kind)
    return {each["name"]: each.get("health") or {} for each in found}


def syncs_of(app: Object) -> int:
    return len(app.get("status", {}).get("history") or [])


def application(
    name: str, repository: str, path: str, namespace: str, *, compare: str = OWN, source: Mapping[str, Any] = {}
) -> Object:
    """An Application with everything that Argo CD does on its own: sync, self-heal and prune. What compares also
    applies."""
    annotations = {"argocd.argoproj.io/compare-options": compare} if compare else {}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "annotations": annotations,
            "finalizers": ["resources-finalizer.argocd.argoproj.io"],
        },
        "spec": {
            "project": "default",
            "source": {"repoURL": repository, "targetRevision": "main", "path": path, **source},
            "destination": {"server": IN_CLUSTER, "namespace": namespace},
            "syncPolicy": {
                "automated": {"prune": True, "selfHeal": True},
                "syncOptions": ["ServerSideApply=true"] if compare == SERVER_SIDE else [],
            },
        },
    }


@asynccontextmanager
async def running(kube: Kube, cache: Cache, steps: Steps, folder: Path) -> AsyncGenerator[ArgoCD]:
    """Runs it for the cluster of `kube`. Its CRDs and settings stay for the next run; its Applications are deleted."""
    assert kube.kubeconfig
    build, redis = built(cache, steps), redis_server.ensure_redis(cache, steps)
    await install(kube, build)
    inside = kube.within(NAMESPACE)
    with ExitStack() as processes:
        address = processes.enter_context(redis_server.running(redis, folder))
        parts = Parts(build, folder, address, kube.kubeconfig)
        server = processes.enter_context(parts.running())
        try:
            yield ArgoCD(inside, parts, server)
        finally:
            await inside.run("delete", "applicationsets", "--all", "--timeout=60s")
            await inside.run("delete", "applications", "--all", "--timeout=60s")


async def install(kube: Kube, build: Build) -> None:
    """Applies Argo CD's own objects, and Slipway's settings for it as docs/gitops.md says."""
    inside = kube.within(NAMESPACE)
    await kube.apply(objects.namespace(NAMESPACE))
    for part in ("crds", "base/config"):
        manifests = (build.source / "manifests" / part).glob("*.yaml")
        await inside.apply(*(each.read_text() for each in sorted(manifests) if each.name != "kustomization.yaml"))
    for kind in ("applications", "appprojects"):
        await kube.wait_for_condition("customresourcedefinition", f"{kind}.argoproj.io", "Established")
    secret: Object = {"metadata": {"name": "argocd-secret", "labels": {"app.kubernetes.io/part-of": "argocd"}}}
    await inside.apply(
        {"apiVersion": "v1", "kind": "Secret", **secret, "stringData": {"server.secretkey": "of-a-test"}},
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "AppProject",
            "metadata": {"name": "default"},
            "spec": {
                "sourceRepos": ["*"],
                "destinations": [{"server": "*", "namespace": "*"}],
                "clusterResourceWhitelist": [{"group": "*", "kind": "*"}],
            },
        },
    )
    await inside.run("apply", "--server-side", "--field-manager=slipway", "-f", str(CONFIG_MAP))


def written(path: Path, thing: Object) -> None:
    """Writes JSON, which is also YAML."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(thing, indent=2) + "\n")
