"""Five models in a folder of a Git repository, which Argo CD syncs; and what it has said of them meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator
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

SLEEPER, SCALED, SCHEDULED, PLACED, PLAIN = "sleeper", "scaled", "scheduled", "placed", "plain"
SMALL: Object = {
    "model": {"uri": f"pvc://{GEMMA_CLAIM}/"},
    "engine": {"name": "llamacpp", "contextLength": 512, "maxConcurrency": 1},
    "pod": {"resources": {"requests": {"cpu": "50m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}}},
}
MODELS: dict[str, Object] = {
    # KEDA wakes it, and lets it go to sleep.
    SLEEPER: {"scaling": {"minReplicas": 0, "maxReplicas": 1, "idleAfter": "10s"}},
    # A HorizontalPodAutoscaler has it.
    SCALED: {"scaling": {"minReplicas": 1, "maxReplicas": 2, "autoscaler": "HPA", "target": {"inFlight": 4}}},
    # What is left out in lists, the API server fills in.
    SCHEDULED: {"scaling": {"schedule": [{"cron": "0 0 1 1 *", "duration": "1m", "minReplicas": 1}]}},
    PLACED: {
        "pod": {
            "tolerations": [{"key": "of-a-test", "value": "yes", "effect": "NoSchedule"}],
            "env": [{"name": "APP_OF_A_TEST", "valueFrom": {"configMapKeyRef": {"name": "of-a-test", "key": "a"}}}],
        }
    },
    # As little as can be said.
    PLAIN: {},
}


def model(name: str, **spec: Any) -> Object:
    """As it stands in Git: the namespace is where it is synced to."""
    return llmdeployment(name, merged(SMALL, merged(MODELS.get(name, {}), spec)))


@dataclass
class ModelsInGit:
    """One Application."""

    argo: ArgoCD
    repository: GitRepository
    kube: Kube
    name: str

    def path(self, model: str) -> Path:
        return self.repository.checkout / self.name / f"{model}.yaml"

    def write(self, *models: Object) -> None:
        for each in models:
            argocd.written(self.path(each["metadata"]["name"]), each)

    async def push(self, message: str) -> None:
        await asyncio.to_thread(self.repository.push, message)
        await self.argo.refresh(self.name)

    async def revert(self) -> None:
        """The last commit."""
        await asyncio.to_thread(self.repository.revert)
        await self.argo.refresh(self.name)

    async def application(self) -> Object:
        return await self.argo.kube.get("application", self.name)


@asynccontextmanager
async def five_models(
    argo: ArgoCD, repository: GitRepository, kube: Kube, *, compare: str
) -> AsyncGenerator[ModelsInGit]:
    """They are synced, and well. At the end the Application goes, and the models with it."""
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
    """What an Application has said of itself, state by state."""

    states: list[tuple[str, str]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    syncs: int = 0  # that it has made

    @property
    def problems(self) -> list[str]:
        """Each time that it was not as Git has it, or not well, and what it said then."""
        told = zip(self.states, self.messages, strict=True)
        return [f"{state}: {message}" for state, message in told if state != ("Synced", "Healthy")]


@asynccontextmanager
async def history_of(fleet: ModelsInGit) -> AsyncGenerator[History]:
    """Meanwhile."""
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
