"""The starter repository under the real Argo CD: its projects, namespaces, accelerators and models are created
automatically, promoted changes are synced, and a bad file affects only its own model.

The CRDs, Slipway, KServe and KEDA are in the cluster already: test_upgrade_by_git.py installs Slipway from Git.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest
import pytest_asyncio
from support.cluster import Kube, Object
from support.cluster.gitops.argocd import ArgoCD, health_of, sync_of
from support.cluster.gitops.models_in_git import model as small_model
from support.cluster.gitops.starter_repository import SET, StarterRepository, removed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(300, func_only=True),
]

IN_THE_CLUSTER = ("crds", "platform", "slipway")
DEV, PROD = "dev/chat/assistant", "prod/chat/assistant"
NAMESPACES = ("chat", "chat-dev", "chat-a-dev")
ALIKE = ("dev/chat/a-b", "dev/chat-a/b")
SECRET: Object = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "taken"}}
TAKEN: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kserve"}}
UNREADABLE = "apiVersion: slipway.dev/v1alpha1\nkind: LLMDeployment\nmetadata: {name: unreadable\n"
LESS, LEAST = 256, 128
NOT_PERMITTED = "not permitted in project"


def model(name: str, **spec: Any) -> Object:
    """There are no requests for this model, so nothing is downloaded, and its namespace needs no other objects."""
    return small_model(name, **{"model": {"uri": "hf://acme/nothing-GGUF", "revision": "0e9e39f249a1"}, **spec})


def app_of(folder: str) -> str:
    return folder.replace("/", ".")


def elsewhere(name: str, namespace: str) -> Object:
    content = model(name)
    return {**content, "metadata": {**content["metadata"], "namespace": namespace}}


def nameless() -> Object:
    return {**model("nameless"), "metadata": {}}


BAD: dict[str, tuple[Object | str, str]] = {
    "dev/chat/unreadable": (UNREADABLE, "ComparisonError"),
    "dev/chat/nameless": (nameless(), "name"),
    "dev/chat/misspelt": (model("misspelt", scalign={"minReplicas": 1}), "scalign"),
    "dev/chat/in-prod": (elsewhere("in-prod", "chat"), NOT_PERMITTED),
    "dev/chat/in-kserve": (elsewhere("in-kserve", "kserve"), NOT_PERMITTED),
    "dev/chat/a-secret": (SECRET, NOT_PERMITTED),
    "dev/chat/a-namespace": (TAKEN, NOT_PERMITTED),
    "dev/chat/another-ones": (model("assistant", scaling={"maxReplicas": 9}), "hared"),
}
"""The content of a folder, and a word of its Application's message."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home(argo: ArgoCD, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StarterRepository]:
    """Everything is synced and healthy: one model in dev, and the same in prod with more replicas."""
    home = StarterRepository(tmp_path_factory.mktemp("git"), left_out=IN_THE_CLUSTER)
    home.write(DEV, model("assistant"))
    home.write(PROD, model("assistant", scaling={"maxReplicas": 4}))
    home.push("Two models")
    await argo.kube.apply(home.root)
    for name in ("root", "namespaces", "accelerators", app_of(DEV), app_of(PROD)):
        await argo.until(name, timeout=120)
    yield home
    await removed(argo, "namespaces", "accelerators", namespaces=NAMESPACES)


async def pushed(home: StarterRepository, argo: ArgoCD, message: str) -> None:
    await asyncio.to_thread(home.push, message)
    await argo.kube.run("annotate", "application", "root", "argocd.argoproj.io/refresh=normal", "--overwrite")
    await argo.refresh_set(SET)


async def idle(kube: Kube, name: str) -> Object:
    return await kube.wait_for("llmdeployment", name, lambda it: it.get("status", {}).get("state") == "Idle")


def errors_of(app: Object) -> str:
    """All error messages of the Application."""
    status = app.get("status", {})
    operation = status.get("operationState") or {}
    return json.dumps([status.get("conditions"), operation.get("message"), operation.get("syncResult")])


async def complains(argo: ArgoCD, folder: str, word: str) -> Object:
    return await argo.kube.wait_for(
        "application",
        app_of(folder),
        lambda app: (sync_of(app), health_of(app)) != ("Synced", "Healthy") and word in errors_of(app),
        timeout=90,
    )


async def together(*them: Awaitable[object]) -> None:
    await asyncio.gather(*them)


async def test_each_folder_becomes_a_model_in_the_namespace_of_its_environment(
    home: StarterRepository, argo: ArgoCD
) -> None:
    for namespace, replicas in (("chat-dev", 1), ("chat", 4)):
        found = await idle(argo.kube.within(namespace), "assistant")
        assert found["spec"]["scaling"]["maxReplicas"] == replicas
    applications = {
        each["metadata"]["name"] for each in await argo.kube.select("application", "slipway.dev/environment")
    }
    assert applications == {app_of(DEV), app_of(PROD)}
    assert await argo.kube.find("acceleratorprofile", "rtx-a4000")


async def test_a_promoted_change_is_synced_and_prod_keeps_the_rest(home: StarterRepository, argo: ArgoCD) -> None:
    home.write(DEV, model("assistant", engine={"contextLength": LESS}))
    await pushed(home, argo, "Less context")
    await asyncio.to_thread(home.promote, "chat/assistant")
    await together(*(argo.refresh(app_of(each)) for each in (DEV, PROD)))
    for namespace, replicas in (("chat-dev", 1), ("chat", 4)):
        found = await argo.kube.within(namespace).wait_for(
            "llmdeployment", "assistant", lambda it: it["spec"]["engine"]["contextLength"] == LESS
        )
        assert found["spec"]["scaling"]["maxReplicas"] == replicas
    await together(*(argo.until(app_of(each)) for each in (DEV, PROD)))


async def test_a_bad_file_affects_only_its_own_model(home: StarterRepository, argo: ArgoCD) -> None:
    """Others are created, changed and removed meanwhile; and no two folders have the same name."""
    for folder, (content, _) in BAD.items():
        home.write(folder, content)
    home.write("dev/chat/No_Name", model("no-name"))
    for folder in ALIKE:
        home.write(folder, model(folder.rpartition("/")[2]))
    home.write_namespace("chat-a-dev")
    await pushed(home, argo, "Two good ones among bad ones")
    await together(*(argo.until(app_of(folder), timeout=120) for folder in ALIKE))
    await together(*(complains(argo, folder, word) for folder, (_, word) in BAD.items()))
    await together(idle(argo.kube.within("chat-dev"), "a-b"), idle(argo.kube.within("chat-a-dev"), "b"))
    assert not await argo.kube.find("application", "dev.chat.No_Name")
    assert not await argo.kube.within("chat").find("llmdeployment", "in-prod")
    assert not await argo.kube.within("kserve").find("llmdeployment", "in-kserve")
    assert not await argo.kube.within("chat-dev").find("secret", "taken")
    first = await argo.kube.within("chat-dev").get("llmdeployment", "assistant")
    assert first["spec"]["scaling"]["maxReplicas"] == 1

    home.write(DEV, model("assistant", engine={"contextLength": LEAST}))
    home.remove(ALIKE[0])
    await pushed(home, argo, "One is changed, and one is gone, while the bad ones are there")
    await argo.refresh(app_of(DEV))
    await argo.kube.within("chat-dev").wait_for(
        "llmdeployment", "assistant", lambda it: it["spec"]["engine"]["contextLength"] == LEAST
    )
    await argo.kube.within("chat-dev").wait_gone("llmdeployment", "a-b")
    await argo.until(app_of(DEV))
    conditions = (await argo.kube.get("applicationset", SET))["status"]["conditions"]
    assert [each["status"] for each in conditions if each["type"] == "ErrorOccurred"] == ["False"]


async def test_deleting_a_file_keeps_its_model_and_deleting_the_folder_deletes_it(
    home: StarterRepository, argo: ArgoCD
) -> None:
    folder, kube = ALIKE[1], argo.kube.within("chat-a-dev")
    home.model(folder).rename(home.model(folder).with_name("other.yaml"))
    await pushed(home, argo, "By another name")
    await argo.refresh(app_of(folder))
    await argo.kube.wait_for("application", app_of(folder), lambda app: sync_of(app) == "OutOfSync")
    assert await kube.find("llmdeployment", "b")
    home.remove(folder)
    await pushed(home, argo, "No more")
    await kube.wait_gone("llmdeployment", "b")
