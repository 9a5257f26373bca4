"""Slipway with rights in some namespaces only: models there are served as usual, others are left alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.components import SLIPWAY_NAMESPACE as HOME
from support.builders.llmdeployments import at_zero, gemma
from support.cluster import Kube, Object, audit, own_namespace
from support.cluster.audit import Request
from support.cluster.model_at_zero import CLAIM, FRIEND, model_at_zero
from support.cluster.releases import PROGRAMS, rolled_out, with_values

pytestmark = pytest.mark.slow


@pytest.fixture
async def other(neighbour_kube: Kube) -> AsyncIterator[Kube]:
    """A second namespace, which is watched, too."""
    async with own_namespace(neighbour_kube) as kube:
        yield kube


@pytest.fixture
async def restricted(operator_pods: Cluster, neighbour_kube: Kube, other: Kube) -> AsyncIterator[Cluster]:
    """Restricts Slipway to the namespaces of the test."""
    home, watched = neighbour_kube.within(HOME), f"{neighbour_kube.namespace},{other.namespace}"
    async with with_values(operator_pods, home, f"watchNamespaces={{{watched}}}", replaced=PROGRAMS):
        yield operator_pods


def requests_by_program(cluster: Cluster) -> dict[str, list[Request]]:
    return {account: audit.requests(cluster.layout.audit_log, account) for account in PROGRAMS}


async def test_a_model_sleeps_and_wakes_with_access_rules_and_no_request_of_slipway_is_refused(
    restricted: Cluster, neighbour_kube: Kube
) -> None:
    before = {account: len(requests) for account, requests in requests_by_program(restricted).items()}
    peers = [{"podSelector": {"matchLabels": FRIEND}}]
    async with model_at_zero(neighbour_kube, access={"allowFrom": peers}) as model:
        assert await model.request() == (403, "not_allowed_from_here")
        assert await model.is_asleep()
        await model.wakes(labels=FRIEND)
    for account, requests in requests_by_program(restricted).items():
        assert [request for request in requests[before[account] :] if request.was_refused] == []


async def test_a_model_in_an_unwatched_namespace_is_left_alone(restricted: Cluster, neighbour_kube: Kube) -> None:
    async with own_namespace(neighbour_kube) as unwatched:
        await unwatched.apply(gemma(min_replicas=0))
        await unwatched.never("llmdeployment", lambda obj: "status" in obj, seconds=5)
        assert await unwatched.find("inferenceservice", "gemma") is None


@pytest.mark.timeout(400, func_only=True)
async def test_the_deletion_of_a_watched_namespace_does_not_affect_the_others(
    restricted: Cluster, neighbour_kube: Kube, other: Kube
) -> None:
    """Its Roles are deleted with it, so the watches there are refused when they are opened again."""
    await other.run("delete", "namespace", other.namespace, "--timeout=60s")
    home = neighbour_kube.within(HOME)
    await home.run("rollout", "restart", *(f"deployment/{program}" for program in PROGRAMS))
    await rolled_out(home)
    await neighbour_kube.apply(CLAIM, gemma(min_replicas=0))
    await neighbour_kube.wait_for_condition("scaledobject", "gemma", "Ready", timeout=60)
    await neighbour_kube.delete("llmdeployment", "gemma", wait=True)


# --- inspections -----------------------------------------------------------------------------------------------------


@pytest.fixture
async def inspecting(operator_pods: Cluster, neighbour_kube: Kube, other: Kube) -> AsyncIterator[Cluster]:
    """Restricts Slipway to the namespaces of the test, and lets it read models' files in these."""
    home, both = neighbour_kube.within(HOME), f"{{{neighbour_kube.namespace},{other.namespace}}}"
    values = (f"watchNamespaces={both}", f"planner.inspection.namespaces={both}")
    async with with_values(operator_pods, home, *values, replaced=PROGRAMS):
        yield operator_pods


def says(words: str) -> Callable[[Object], bool]:
    return lambda it: words in it.get("status", {}).get("message", "")


@pytest.mark.timeout(600, func_only=True)
async def test_a_lost_role_for_inspections_stops_only_these_and_only_there(
    inspecting: Cluster, neighbour_kube: Kube, other: Kube
) -> None:
    await neighbour_kube.delete("rolebinding", "slipway-operator-inspection", wait=True)
    home = neighbour_kube.within(HOME)
    await home.run("rollout", "restart", "deployment/slipway-operator")  # its watches are refused when they open again
    await rolled_out(home)
    unknown = at_zero("unknown", model={"uri": "pvc://nothing/tiny"}, engine={"name": "vllm"})
    for kube in (neighbour_kube, other):
        await kube.apply(unknown)
    words = f"Slipway's rights on Jobs in namespace {neighbour_kube.namespace} are gone"
    await neighbour_kube.wait_for("llmdeployment", "unknown", says(words), timeout=120)
    await other.wait_for("llmdeployment", "unknown", says("PersistentVolumeClaim nothing, which doesn't exist"))
    await neighbour_kube.apply(CLAIM, gemma(min_replicas=0))
    await neighbour_kube.wait_for_condition("scaledobject", "gemma", "Ready", timeout=60)
    await neighbour_kube.delete("llmdeployment", "gemma", wait=True)
