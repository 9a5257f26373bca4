"""Models in Git under the real Argo CD: synced, healthy and left alone, and reported where they are degraded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from slipway.api.names import OWNER_LABEL, PAUSED_ANNOTATION, SLEEP_ANNOTATION, WAKE_ANNOTATION
from slipway_devcluster import model as model_files
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.components import SLIPWAY_NAMESPACE
from support.builders.llmdeployments import GEMMA_CLAIM
from support.cluster import Object, ReachableServer, Settings, custom_metrics, folder_claimed, own_namespace
from support.cluster.gitops import argocd
from support.cluster.gitops.argocd import ArgoCD, health_of_resources
from support.cluster.gitops.argocd_processes import RESYNC
from support.cluster.gitops.git_repository import GitRepository
from support.cluster.gitops.models_in_git import (
    PLAIN,
    SCALED,
    SLEEPER,
    SMALL,
    ModelsInGit,
    five_models,
    history_of,
    model,
)
from support.load.sleeping_models import SleepingModel, existing_sleeping_models

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300, func_only=True)]

KIND = "LLMDeployment"
CHILDREN = ("inferenceservice", "service", "scaledobject", "deployment", "networkpolicy", "endpointslice")
COMPARISONS = [
    pytest.param(argocd.SERVER_SIDE, id="the API server compares"),
    pytest.param(argocd.OWN, id="Argo CD compares", marks=pytest.mark.slow),
]
UNPLANNABLE = {"engine": {"name": "vllm"}, "accelerator": {"profiles": ["no-such"]}}
UNSTARTABLE = {"model": {"uri": f"pvc://{GEMMA_CLAIM}/nothing"}, "scaling": {"minReplicas": 1}}
BAD = [
    pytest.param(UNPLANNABLE, "no-such", 10, id="at planning"),
    pytest.param(UNSTARTABLE, "gguf", 30, id="at the start"),
]
"""For a model: its fault, a word of the expected message, and the most seconds after the push."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleets(
    argo: ArgoCD, operator_pods: Cluster, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, ModelsInGit]]:
    """Five models for each way of comparison."""
    weights = model_files.ensure_gguf(settings.cache, settings.steps)
    async with AsyncExitStack() as stack:
        kubes = [await stack.enter_async_context(own_namespace(argo.kube)) for _ in argocd.COMPARISONS]
        for kube in kubes:
            await stack.enter_async_context(folder_claimed(kube, GEMMA_CLAIM, weights))
        tester = ReachableServer(operator_pods.node_ip, operator_pods.entered)
        await stack.enter_async_context(custom_metrics.served(kubes[0], tester))
        made = await asyncio.gather(
            *(
                stack.enter_async_context(
                    five_models(argo, GitRepository(tmp_path_factory.mktemp("git")), kube, compare=compare)
                )
                for compare, kube in zip(argocd.COMPARISONS, kubes, strict=True)
            )
        )
        yield dict(zip(argocd.COMPARISONS, made, strict=True))


@pytest.fixture(params=COMPARISONS)
def fleet(request: pytest.FixtureRequest, fleets: dict[str, ModelsInGit]) -> ModelsInGit:
    """Each test leaves its models as it found them: synced and healthy."""
    return fleets[request.param]


@pytest.mark.parametrize(
    "rounds", [1, pytest.param(8, marks=[pytest.mark.slow, pytest.mark.timeout(900, func_only=True)])]
)
async def test_models_stay_synced_and_healthy_whatever_the_operator_and_autoscalers_do(
    operator_pods: Cluster, fleets: dict[str, ModelsInGit], rounds: int
) -> None:
    """With both ways of comparison at once."""
    async with AsyncExitStack() as stack:
        rooms = [existing_sleeping_models(operator_pods, each.kube, SLEEPER) for each in fleets.values()]
        found = [(await stack.enter_async_context(room))[0] for room in rooms]
        await asyncio.gather(*map(wakes_and_sleeps, found))  # the very first start counts as progress
        histories = [await stack.enter_async_context(history_of(each)) for each in fleets.values()]
        home = next(iter(fleets.values())).kube.within(SLIPWAY_NAMESPACE)
        for number in range(rounds):
            replicas = 2 - number % 2
            await asyncio.gather(
                *map(wakes_and_sleeps, found), *(stirred(each, replicas=replicas) for each in fleets.values())
            )
            await home.run("rollout", "restart", "deployment/slipway-operator")
            await home.run("rollout", "status", "deployment/slipway-operator", "--timeout=120s")
            await asyncio.sleep(3 * RESYNC)  # meanwhile, Git and the cluster are compared again
    for compare, history in zip(fleets, histories, strict=True):
        assert history.problems == [], compare
        assert history.syncs == 0, compare


async def stirred(fleet: ModelsInGit, *, replicas: int) -> None:
    await fleet.kube.scale("deployment", f"{SCALED}-predictor", replicas)
    await fleet.kube.run("annotate", "llmdeployment", PLAIN, f"{WAKE_ANNOTATION}={a_while_ago()}", "--overwrite")


async def wakes_and_sleeps(model: SleepingModel) -> None:
    assert (await model.send(0)).status == 200
    await model.until_replicas(0)


def a_while_ago() -> str:
    """A time in the past, so that it wakes no model."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 86_400))


@pytest.mark.parametrize(("spec", "word", "seconds"), BAD)
async def test_a_bad_model_is_degraded_with_its_cause_within_seconds_of_the_push_and_a_revert_heals_it(
    fleet: ModelsInGit, spec: Object, word: str, seconds: float
) -> None:
    fleet.write(model("bad", **spec))
    pushed_at = time.monotonic()
    await fleet.push("A model that can't be")
    app = await fleet.argo.until(fleet.name, health="Degraded")
    took = time.monotonic() - pushed_at
    assert word in health_of_resources(app, KIND)["bad"]["message"]
    assert took < seconds
    await fleet.revert()
    await fleet.kube.wait_gone("llmdeployment", "bad")
    await fleet.argo.until(fleet.name)


@pytest.mark.slow
async def test_actions_wake_a_model_and_send_it_to_sleep_and_self_heal_leaves_them_alone(fleet: ModelsInGit) -> None:
    """The spec of a model that would stay awake for ten minutes."""

    def runs(replicas: int) -> Callable[[Object], bool]:
        return lambda found: bool(found["spec"]["replicas"] == replicas)

    predictor = f"{PLAIN}-predictor"
    for action, annotation, replicas in (("wake", WAKE_ANNOTATION, 1), ("sleep", SLEEP_ANNOTATION, 0)):
        await fleet.argo.act(fleet.name, action, KIND, PLAIN)
        await fleet.kube.wait_for("deployment", predictor, runs(replicas), timeout=60)
        annotations = await annotations_of(fleet)
        assert annotation in annotations
        await asyncio.sleep(2 * RESYNC)  # Argo CD checks whether there is something to heal
        assert await annotations_of(fleet) == annotations
        await fleet.argo.until(fleet.name)


async def annotations_of(fleet: ModelsInGit) -> dict[str, str]:
    found: dict[str, str] = (await fleet.kube.get("llmdeployment", PLAIN))["metadata"].get("annotations") or {}
    return found


async def test_a_manual_change_is_reverted(fleet: ModelsInGit) -> None:
    """A field that is in Git: other fields are left to the API server."""

    def has(length: int) -> Callable[[Object], bool]:
        return lambda it: bool(it["spec"]["engine"]["contextLength"] == length)

    async with fleet.kube.passing("llmdeployment", PLAIN, has(256)):
        await fleet.kube.patch("llmdeployment", PLAIN, {"spec": {"engine": {"contextLength": 256}}})
    await fleet.kube.wait_for("llmdeployment", PLAIN, has(SMALL["engine"]["contextLength"]), timeout=30)
    await fleet.argo.until(fleet.name)


async def test_a_model_whose_file_is_deleted_is_deleted_with_all_its_children(fleet: ModelsInGit) -> None:
    async def had(kind: str) -> list[str]:
        return [each["metadata"]["name"] for each in await fleet.kube.select(kind, f"{OWNER_LABEL}={PLAIN}")]

    assert await had("inferenceservice") == [PLAIN]
    fleet.path(PLAIN).unlink()
    await fleet.push("One model less")
    await fleet.kube.wait_gone("llmdeployment", PLAIN)
    for kind in CHILDREN:
        for name in await had(kind):
            await fleet.kube.wait_gone(kind, name)
    app = await fleet.argo.until(fleet.name)
    assert PLAIN not in health_of_resources(app, KIND)
    await fleet.revert()
    await fleet.kube.wait_for("llmdeployment", PLAIN, lambda it: it.get("status", {}).get("state") == "Idle")
    await fleet.argo.until(fleet.name)


async def test_a_paused_model_is_suspended_until_it_is_resumed(fleet: ModelsInGit) -> None:
    await fleet.kube.run("annotate", "llmdeployment", PLAIN, f"{PAUSED_ANNOTATION}=true")
    app = await fleet.argo.until(fleet.name, health="Suspended")
    assert health_of_resources(app, KIND)[PLAIN]["message"].startswith("Paused:")
    await fleet.kube.run("annotate", "llmdeployment", PLAIN, f"{PAUSED_ANNOTATION}=false", "--overwrite")
    await fleet.argo.until(fleet.name)
