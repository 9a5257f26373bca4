"""The real Argo CD beside a test, without its UI: its command line, and all of it on a cluster.

What it keeps in a cluster lies in a namespace of its own; what it syncs to is that same cluster.
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

from support.builders.objects import Object
from support.cluster.gitops import redis_server
from support.cluster.gitops.argocd_processes import NAMESPACE, Parts
from support.cluster.kube import Kube
from support.repository import ROOT

UPSTREAM = "argocd"
CONFIG_MAP = ROOT / "manifests/argocd/argocd-cm.yaml"
IN_CLUSTER = "https://kubernetes.default.svc"

SERVER_SIDE = "ServerSideDiff=true,IncludeMutationWebhook=true"
OWN = ""
"""Argo CD's own comparison of three states."""
COMPARISONS = (SERVER_SIDE, OWN)


def built(cache: Cache, steps: Steps) -> Build:
    """Three minutes of two cores, the first time."""
    absent = missing([UPSTREAM], cache)
    build = ensure_built(UPSTREAM, cache, steps)
    if absent:
        discard_go_caches(cache)
    return build


# --- its command line, without a cluster -----------------------------------------------------------------------------


@dataclass(frozen=True)
class CommandLine:
    """What becomes of an object by the ConfigMap of this repository. `folder`: for what is written on the way."""

    build: Build
    folder: Path

    def health(self, thing: Path) -> dict[str, str]:
        lines = (line.partition(": ") for line in self._ask("health", thing).splitlines())
        told = {name.rstrip(":").lower(): value for name, _, value in lines}
        return {name: value for name, value in told.items() if value}

    def actions(self, thing: Path) -> dict[str, bool]:
        """Whether each is disabled."""
        _, *rows = self._ask("list-actions", thing).splitlines()
        return {name: disabled == "true" for name, disabled in map(str.split, rows)}

    def acted(self, thing: Path, action: str) -> Object:
        return self._target(self._ask("run-action", thing, action))

    def compared(self, thing: Path) -> Object:
        """Without what is no difference between Git and the cluster."""
        return self._target(self._ask("ignore-differences", thing))

    def _target(self, said: str) -> Object:
        """It shows a difference by calling a program with two files, of which the second is how it is to be."""
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
    """One that runs, as seen from the namespace in which its Applications are."""

    kube: Kube
    parts: Parts
    server: str  # the address of its API

    async def refresh(self, name: str) -> None:
        """Git is looked at now, instead of after a while."""
        await self.kube.run("annotate", "application", name, "argocd.argoproj.io/refresh=normal", "--overwrite")

    async def refresh_set(self, name: str) -> None:
        """The same for an ApplicationSet."""
        annotation = "argocd.argoproj.io/application-set-refresh=true"
        await self.kube.run("annotate", "applicationset", name, annotation, "--overwrite")

    async def act(self, name: str, action: str, kind: str, resource: str) -> None:
        """As somebody does who presses the button, or asks by the command line."""
        command = ["app", "actions", "run", name, action, f"--kind={kind}", f"--resource-name={resource}"]
        await asyncio.to_thread(self.parts.command, *command, f"--server={self.server}", "--plaintext")

    async def until(self, name: str, *, sync: str = "Synced", health: str = "Healthy", timeout: float = 60) -> Object:
        def is_so(app: Object) -> bool:
            return (sync_of(app), health_of(app)) == (sync, health)

        return await self.kube.wait_for("application", name, is_so, timeout=timeout)

    def logs(self) -> Iterator[tuple[str, str]]:
        for path in sorted(self.parts.folder.glob("*.log")):
            yield path.name, "\n".join(path.read_text(errors="replace").splitlines()[-60:])


def sync_of(app: Object) -> str:
    return str(app.get("status", {}).get("sync", {}).get("status", ""))


def health_of(app: Object) -> str:
    return str(app.get("status", {}).get("health", {}).get("status", ""))


def health_of_resources(app: Object, kind: str) -> dict[str, dict[str, str]]:
    """By their names."""
    found = (each for each in app.get("status", {}).get("resources") or [] if each["kind"] == kind)
    return {each["name"]: each.get("health") or {} for each in found}


def syncs_of(app: Object) -> int:
    return len(app.get("status", {}).get("history") or [])


def application(
    name: str, repository: str, path: str, namespace: str, *, compare: str = OWN, source: Mapping[str, Any] = {}
) -> Object:
    """With all that Argo CD does by itself: it syncs, heals, and takes away. Who compares also applies."""
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
    """On the cluster of `kube`. What it has there stays for the next one; its Applications go."""
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
    """What it has of its own in a cluster, and Slipway's entries as docs/gitops.md says."""
    inside = kube.within(NAMESPACE)
    await kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    for part in ("crds", "base/config"):
        manifests = (build.source / "manifests" / part).glob("*.yaml")
        await inside.apply(*(each.read_text() for each in sorted(manifests) if each.name != "kustomization.yaml"))
    await kube.run("wait", "--for=condition=Established", "crd/applications.argoproj.io", "crd/appprojects.argoproj.io")
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
    """JSON is YAML."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(thing, indent=2) + "\n")
