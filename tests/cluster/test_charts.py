"""The charts as users install them, on a real cluster, while a model serves: Slipway changes, the model never does."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from slipway.objects.kinds import POD_MONITOR, Kind
from slipway_devcluster import model
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.components import SLIPWAY_NAMESPACE as HOME
from slipway_devcluster.errors import Refusal
from support.builders import objects
from support.builders.llmdeployments import gemma
from support.charts.helm import text
from support.charts.values import BRANCHES
from support.cluster import FromTheNode, Kube, Object, Settings, folder_claimed, own_namespace
from support.cluster.releases import PROGRAMS, RELEASE, helm, rolled_out, with_values
from support.monitoring.on_cluster import PROMETHEUS_RULE
from support.repository import CHARTS, ROOT

CHART = str(CHARTS / "slipway")
SERVICE_MONITOR = Kind("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors")
BODY = {"model": "gemma", "prompt": "Kubernetes is", "max_tokens": 4, "temperature": 0}
WAIT = "--timeout=120s"
ROOM = 256 << 10  # bytes: a quarter of what a Secret may hold


@dataclass(frozen=True)
class Serving:
    """A served model with one replica."""

    cluster: Cluster
    kube: Kube

    async def answers(self) -> None:
        access = FromTheNode(self.kube, self.cluster.entered)
        async with access.session() as session:
            url = await access.url("gemma")
            async with session.post(f"{url}/v1/completions", json=BODY) as answer:
                assert answer.status == 200, await answer.text()
                assert "Slipway-Held-Ms" not in answer.headers  # directly from the replica

    async def pods_and_restarts(self) -> list[tuple[str, int]]:
        """The model's pods, and how often each has restarted."""
        pods = await self.kube.select("pods", "slipway.dev/llmdeployment=gemma")
        return [(pod["metadata"]["uid"], restarts(pod)) for pod in pods]

    async def is_reconciled(self) -> None:
        """Waits until the operator has reconciled a change made now."""
        found = await self.kube.get("llmdeployment", "gemma")
        other = "12m" if found["spec"]["scaling"].get("idleAfter") == "11m" else "11m"  # which doesn't affect any pod
        await self.kube.patch("llmdeployment", "gemma", {"spec": {"scaling": {"idleAfter": other}}})
        await self.kube.wait_for("llmdeployment", "gemma", has_followed, timeout=90)


def restarts(pod: Object) -> int:
    return sum(int(each["restartCount"]) for each in pod["status"].get("containerStatuses", []))


def has_followed(deployment: Object) -> bool:
    status = deployment.get("status", {})
    return bool(
        status.get("observedGeneration") == deployment["metadata"]["generation"] and status["state"] == "Serving"
    )


@asynccontextmanager
async def served_model(cluster: Cluster, settings: Settings, cache_folder: Any) -> AsyncIterator[Serving]:
    whole = Kube(cluster.kubectl, cluster.kubeconfig, cache_folder)
    weights = model.ensure_gguf(settings.cache, settings.steps)
    async with own_namespace(whole) as kube, folder_claimed(kube, "gemma", weights):
        await kube.apply(gemma(min_replicas=1))
        await kube.wait_for("llmdeployment", "gemma", has_followed, timeout=120)
        yield Serving(cluster, kube)
        await kube.delete("llmdeployment", "gemma", wait=True)


@pytest.fixture(scope="module")
def serving(operator_pods: Cluster, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        given = served_model(operator_pods, settings, tmp_path_factory.getbasetemp() / "kubectl")
        yield runner.run(stack.enter_async_context(given))
        runner.run(stack.aclose())


@pytest.fixture
async def home(neighbour_kube: Kube) -> Kube:
    """Slipway's own namespace."""
    return neighbour_kube.within(HOME)


# --- while a model serves --------------------------------------------------------------------------------------------


async def test_kubectl_reinstalls_slipway_and_helm_takes_it_over_and_no_model_restarts(
    serving: Serving, home: Kube
) -> None:
    cluster, before = serving.cluster, await serving.pods_and_restarts()
    values = await helm(cluster, "get", "values", *RELEASE, "--output=json")
    await helm(cluster, "uninstall", *RELEASE)
    await home.run("wait", "--for=delete", "pods", f"--selector=app.kubernetes.io/name in ({','.join(PROGRAMS)})", WAIT)
    await serving.answers()

    manifest = text("slipway", json.loads(values), skip_tests="true").encode()
    await asyncio.to_thread(cluster.run_kubectl, ["apply", "--server-side", "--filename=-"], manifest)
    await rolled_out(home)
    await serving.is_reconciled()
    await serving.answers()

    command = ["upgrade", "--install", *RELEASE, CHART, "--take-ownership", "--atomic", WAIT, "--values=-"]
    await asyncio.to_thread(cluster.run_helm, command, values.encode())
    await serving.is_reconciled()
    assert await serving.pods_and_restarts() == before


@pytest.mark.slow
@pytest.mark.timeout(400, func_only=True)
async def test_a_failed_upgrade_is_rolled_back(serving: Serving, home: Kube) -> None:
    before = await home.get("deployment", "slipway-operator")
    failing = ["--reuse-values", "--set=images.operator.tag=nowhere", "--atomic", "--timeout=20s"]
    with pytest.raises(Refusal, match="has been rolled back due to atomic being set"):
        await helm(serving.cluster, "upgrade", *RELEASE, CHART, *failing)
    after = await home.get("deployment", "slipway-operator")
    assert after["spec"]["template"] == before["spec"]["template"]
    await rolled_out(home)
    await serving.answers()


# --- refused and accepted values -------------------------------------------------------------------------------------


def test_a_second_release_is_refused_with_the_name_of_the_first(operator_pods: Cluster) -> None:
    refusal = f"Slipway is already installed in this cluster, as release slipway in namespace {HOME}"
    with pytest.raises(Refusal, match=refusal):
        operator_pods.run_helm(["install", "second", CHART, "--namespace=default"])
    assert json.loads(operator_pods.run_helm(["list", "--namespace=default", "--output=json"])) == []


@pytest.mark.parametrize("branch", BRANCHES)
async def test_the_api_server_accepts_every_variant_of_the_values(
    operator_pods: Cluster, neighbour_kube: Kube, home: Kube, branch: str
) -> None:
    await home.delete("pod", "slipway-selftest", wait=True)  # left by a previous test; a pod is immutable
    kinds = (POD_MONITOR, SERVICE_MONITOR, PROMETHEUS_RULE)
    await neighbour_kube.apply(*map(objects.definition, kinds))
    for kind in kinds:
        await neighbour_kube.wait_for_condition("crd", f"{kind.plural}.{kind.group}", "Established")
    strictly = ["--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict"]
    manifest = text("slipway", BRANCHES[branch]).encode()
    await asyncio.to_thread(operator_pods.run_kubectl, ["apply", *strictly, "--filename=-"], manifest)


async def test_the_crds_can_be_applied_by_kubectl_alone(operator_pods: Cluster, neighbour_kube: Kube) -> None:
    """With client-side apply, which stores the applied object in an annotation, whose size is limited."""
    await neighbour_kube.run("apply", f"--filename={ROOT / 'crds'}")


async def test_the_releases_fit_into_helms_secrets(operator_pods: Cluster, home: Kube) -> None:
    sizes = [len(base64.b64decode(each["data"]["release"])) for each in await home.select("secrets", "owner=helm")]
    assert sizes
    assert max(sizes) < ROOM


# --- the self-test ---------------------------------------------------------------------------------------------------


async def test_the_self_test_passes_and_leaves_nothing_but_its_log(operator_pods: Cluster, home: Kube) -> None:
    output = await helm(operator_pods, "test", *RELEASE, "--logs", "--timeout=150s")
    assert "All works together." in output
    assert "BAD" not in output
    names = {each["metadata"]["name"] for kind in ("scaledobjects", "deployments") for each in await home.select(kind)}
    assert not [name for name in names if name.startswith("slipway-selftest")]


@pytest.mark.slow
@pytest.mark.timeout(400, func_only=True)
async def test_the_self_test_reports_what_fails_and_the_remedy(operator_pods: Cluster, home: Kube) -> None:
    """KEDA is not in the namespace of the values, so the activator refuses its calls."""
    async with with_values(operator_pods, home, "platform.kedaNamespace=elsewhere", replaced=["slipway-activator"]):
        with pytest.raises(Refusal, match="slipway-selftest"):
            await helm(operator_pods, "test", *RELEASE, "--timeout=240s")
        output = await home.run("logs", "slipway-selftest")
    assert "there is no Deployment elsewhere/keda-operator: install KEDA, or name its namespace with" in output
    assert "KEDA can't reach the activator at slipway-activator.slipway-system:9090" in output
    assert "2 of 6 don't work." in output
