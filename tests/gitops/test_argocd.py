"""Models in Git, by the real Argo CD: synced, healthy and left in peace, and told about where they are not well."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from slipway.api.names import OWNER_LABEL, PAUSED_ANNOTATION, WAKE_ANNOTATION
from slipway_devcluster import model as model_files
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.components import SLIPWAY_NAMESPACE
from support import argocd, custom_metrics
from support.argocd import ArgoCD, health_of_resources
from support.clusters import Settings
from support.fleet_by_git import PLAIN, SCALED, SLEEPER, Fleet, five_models, model, told
from support.git_repository import GitRepository
from support.namespaces import own_namespace
from support.sleepers import CLAIM, Sleeper, sleepers_there
from support.tester import ServerHere
from support.volumes import folder_claimed

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300, func_only=True)]

KIND = "LLMDeployment"
CHILDREN = ("inferenceservice", "service", "scaledobject", "deployment", "networkpolicy", "endpointslice")
COMPARISONS = [
    pytest.param(argocd.SERVER_SIDE, id="the API server compares"),
    pytest.param(argocd.OWN, id="Argo CD compares", marks=pytest.mark.slow),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=COMPARISONS)
async def fleet(
    request: pytest.FixtureRequest,
    argo: ArgoCD,
    operator_pods: Cluster,
    settings: Settings,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Fleet]:
    """Five models. Each test leaves them as it found them: as Git has them, and well."""
    repository = GitRepository(tmp_path_factory.mktemp("git"))
    weights = model_files.ensure_gguf(settings.cache, settings.steps)
    async with (
        own_namespace(argo.kube) as kube,
        folder_claimed(kube, CLAIM, weights),
        custom_metrics.served(kube, ServerHere(operator_pods.node_ip, operator_pods.entered)),
        five_models(argo, repository, kube, compare=request.param) as fleet,
    ):
        yield fleet


async def test_models_stay_synced_and_healthy_whatever_operator_and_autoscalers_do(
    operator_pods: Cluster, fleet: Fleet
) -> None:
    async with sleepers_there(operator_pods, fleet.kube, SLEEPER) as [sleeper]:
        await wakes_and_sleeps(sleeper)  # the first start of all counts as progress
        async with told(fleet) as story:
            await wakes_and_sleeps(sleeper)
            await fleet.kube.scale("deployment", f"{SCALED}-predictor", 2)
            await fleet.kube.run("annotate", "llmdeployment", PLAIN, f"{WAKE_ANNOTATION}={a_while_ago()}")
            home = fleet.kube.within(SLIPWAY_NAMESPACE)
            await home.run("rollout", "restart", "deployment/slipway-operator")
            await home.run("rollout", "status", "deployment/slipway-operator", "--timeout=120s")
            await asyncio.sleep(3 * argocd.RESYNC)  # Git and cluster are compared again meanwhile
    assert story.troubles == []
    assert story.syncs == 0


async def wakes_and_sleeps(sleeper: Sleeper) -> None:
    assert (await sleeper.answered(0)).status == 200
    await sleeper.until_replicas(0)


def a_while_ago() -> str:
    """So that it wakes nothing."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 86_400))


async def test_a_bad_model_is_degraded_with_its_cause_within_seconds_and_a_revert_heals_it(fleet: Fleet) -> None:
    fleet.write(model("bad", model={"uri": f"pvc://{CLAIM}/nothing"}, scaling={"minReplicas": 1}))
    await fleet.pushed("A model that isn't there")
    await fleet.kube.wait_for("llmdeployment", "bad", lambda it: it.get("status", {}).get("state") == "Failed")
    failed_at = time.monotonic()
    app = await fleet.argo.until(fleet.name, health="Degraded")
    assert time.monotonic() - failed_at < 10
    assert "gguf" in health_of_resources(app, KIND)["bad"]["message"]
    await fleet.reverted()
    await fleet.kube.wait_gone("llmdeployment", "bad")
    await fleet.argo.until(fleet.name)


async def test_what_is_changed_by_hand_is_put_right(fleet: Fleet) -> None:
    async with fleet.kube.passing("llmdeployment", PLAIN, lambda it: it["spec"]["scaling"]["maxReplicas"] == 3):
        await fleet.kube.patch("llmdeployment", PLAIN, {"spec": {"scaling": {"maxReplicas": 3}}})
    await fleet.kube.wait_for("llmdeployment", PLAIN, lambda it: it["spec"]["scaling"]["maxReplicas"] == 1, timeout=30)
    await fleet.argo.until(fleet.name)


async def test_a_model_whose_file_is_gone_is_gone_with_all_that_it_had(fleet: Fleet) -> None:
    async def had(kind: str) -> list[str]:
        return [each["metadata"]["name"] for each in await fleet.kube.select(kind, f"{OWNER_LABEL}={PLAIN}")]

    assert await had("inferenceservice") == [PLAIN]
    fleet.path(PLAIN).unlink()
    await fleet.pushed("One model less")
    await fleet.kube.wait_gone("llmdeployment", PLAIN)
    for kind in CHILDREN:
        for name in await had(kind):
            await fleet.kube.wait_gone(kind, name)
    app = await fleet.argo.until(fleet.name)
    assert PLAIN not in health_of_resources(app, KIND)
    await fleet.reverted()
    await fleet.kube.wait_for("llmdeployment", PLAIN, lambda it: it.get("status", {}).get("state") == "Idle")
    await fleet.argo.until(fleet.name)


async def test_a_paused_model_is_suspended_until_it_goes_on(fleet: Fleet) -> None:
    await fleet.kube.run("annotate", "llmdeployment", PLAIN, f"{PAUSED_ANNOTATION}=true")
    app = await fleet.argo.until(fleet.name, health="Suspended")
    assert health_of_resources(app, KIND)[PLAIN]["message"].startswith("Paused:")
    await fleet.kube.run("annotate", "llmdeployment", PLAIN, f"{PAUSED_ANNOTATION}=false", "--overwrite")
    await fleet.argo.until(fleet.name)
