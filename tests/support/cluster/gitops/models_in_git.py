"""Five models in a folder of a Git repository, which Argo CD syncs, and the history of their Application."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.builders.llmdeployments import GEMMA_CLAIM, llmdeployment, merged
from support.builders.objects import Object
from support.cluster.gitops import argocd
from support.cluster.gitops.argocd import ArgoCD, application, health_of, sync_of, syncs_of
from support.cluster.gitops.git_repository import GitRepository
from support.cluster.kube import Kube
from support.cluster.report import namespace_sections

SLEEPER, SCALED, SCHEDULED, PLACED, PLAIN = "sleeper", "scaled", "scheduled", "placed", "plain"
SMALL: Object = {
    "model": {"uri": f"pvc://{GEMMA_CLAIM}/"},
    "engine": {"name": "llamacpp", "contextLength": 512, "maxConcurrency": 1},
    "pod": {"resources": {"requests": {"cpu": "50m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}}},
}
MODELS: dict[str, Object] = {
    # KEDA wakes it, and scales it to zero.
    SLEEPER: {"scaling": {"minReplicas": 0, "maxReplicas": 1, "idleAfter": "10s"}},
    # A HorizontalPodAutoscaler scales it.
    SCALED: {"scaling": {"minReplicas": 1, "maxReplicas": 2, "autoscaler": "HPA", "target": {"inFlight": 4}}},
    # The API server fills in what its list entries leave out.
    SCHEDULED: {"scaling": {"schedule": [{"cron": "0 0 1 1 *", "duration": "1m", "minReplicas": 1}]}},
    PLACED: {
        "pod": {
            "tolerations": [{"key": "of-a-test", "value": "yes", "effect": "NoSchedule"}],
            "env": [{"name": "APP_OF_A_TEST", "valueFrom": {"configMapKeyRef": {"name": "of-a-test", "key": "a"}}}],
        }
    },
    # As short as possible.
    PLAIN: {},
}


def model(name: str, **spec: Any) -> Object:
    """Returns a model as it is in Git: Argo CD adds the namespace."""
    return llmdeployment(name, merged(SMALL, merged(MODELS.get(name, {}), spec)))


@dataclass
class ModelsInGit:
    """One Application."""

    argo: ArgoCD
    repository: GitRepository
    kube: Kube
    name: str

    def report_sections(self) -> Iterator[tuple[str, str]]:
        """Returns what a failed test shows of it."""
        return namespace_sections(self.kube)

    def path(self, model: str) -> Path:
        return self.repository.checkout / self.name / f"{model}.yaml"

    def write(self, *models: Object) -> None:
        for each in models:
            argocd.written(self.path(each["metadata"]["name"]), each)

    async def push(self, message: str) -> None:
        await asyncio.to_thread(self.repository.push, message)
        await self.argo.refresh(self.name)

    async def revert(self) -> None:
        """Reverts the last commit, and has Argo CD read it."""
        await asyncio.to_thread(self.repository.revert)
        await self.argo.refresh(self.name)

    async def application(self) -> Object:
        return await self.argo.kube.get("application", self.name)


@asynccontextmanager
async def five_models(
    argo: ArgoCD, repository: GitRepository, kube: Kube, *, compare: str
) -> AsyncGenerator[ModelsInGit]:
    """Yields the models when they are synced and healthy. At the end the Application is deleted with its models."""
    await kube.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "of-a-test"}, "data": {"a": "b"}})
    fleet = ModelsInGit(argo, repository, kube, f"models-{secrets.token_hex(3)}")
    fleet.write(*map(model, MODELS))
    repository.push("Five models")
    await argo.kube.apply(application(fleet.name, repository.url, fleet.name, kube.namespace, compare=compare))
    await argo.until(fleet.name, timeout=180)
    yield fleet
    await argo.kube.run("delete", "application", fleet.name, "--timeout=120s")


@dataclass
class History:
    """The sync and health states that an Application went through."""

    states: list[tuple[str, str]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    syncs: int = 0  # that it performed

    @property
    def problems(self) -> list[str]:
        """The states in which it was not synced or not healthy, with their messages."""
        history = zip(self.states, self.messages, strict=True)
        return [f"{state}: {message}" for state, message in history if state != ("Synced", "Healthy")]


@asynccontextmanager
async def history_of(fleet: ModelsInGit) -> AsyncGenerator[History]:
    """Records the Application's states while the block lasts."""
    story, before = History(), syncs_of(await fleet.application())

    async def follow() -> None:
        async with contextlib.aclosing(fleet.argo.kube.watch("application", name=fleet.name)) as events:
            async for event in events:
                state = sync_of(event.object), health_of(event.object)
                if state[0] and (not story.states or story.states[-1] != state):
                    story.states.append(state)
                    resources = event.object["status"].get("resources") or []
                    bad = [each for each in resources if (each.get("health") or {}).get("status") != "Healthy"]
                    story.messages.append("; ".join(f"{each['name']}: {each.get('health')}" for each in bad))

    follower = asyncio.create_task(follow())
    try:
        yield story
        assert not follower.done(), f"the watch ended: {follower.exception()}"
    finally:
        follower.cancel()
        await asyncio.gather(follower, return_exceptions=True)
    story.syncs = syncs_of(await fleet.application()) - before
