"""A served model shows what its engine has measured next to its plan. All of Slipway runs as pods, since the operator
reads it from the model's pod."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from slipway.api.names import PLAN_ANNOTATION
from slipway_devcluster import model
from slipway_devcluster.cluster import Cluster
from support.builders.llmdeployments import GEMMA_CLAIM, GEMMA_FACTS, gemma
from support.cluster import Kube, Object, Predicate, Settings, folder_claimed, until_settled
from support.cluster.llmdeployments import current_status

NAME = "gemma"
OURS = f"slipway.dev/llmdeployment={NAME}"
SLOTS, LENGTH = 2, 1024  # of `gemma`
FACTS: Object = {**GEMMA_FACTS, "slidingLayers": 15, "slidingWindow": 512}
"""Of the demo model, as the header of its file says; without them, the planner would have nothing to compare with."""


@pytest.fixture
async def kube(operator_pods: Cluster, neighbour_kube: Kube, settings: Settings) -> AsyncIterator[Kube]:
    """A namespace in which the demo model serves."""
    weights = model.ensure_gguf(settings.cache, settings.steps)
    async with folder_claimed(neighbour_kube, GEMMA_CLAIM, weights):
        await neighbour_kube.apply(gemma(min_replicas=1, model={"uri": f"pvc://{GEMMA_CLAIM}/", "facts": FACTS}))
        await until_settled(neighbour_kube, NAME, "Serving", timeout=120)
        yield neighbour_kube
        await neighbour_kube.delete("llmdeployment", NAME, wait=True)


def is_measured(*, other_than: str = "") -> Predicate:
    """Of another pod than that one."""

    def found(thing: Object) -> bool:
        measured = current_status(thing).get("measured") or {}
        return bool(measured.get("pod", other_than) != other_than)

    return found


async def test_a_served_model_shows_plan_and_measurement(kube: Kube) -> None:
    status = current_status(await kube.wait_for("llmdeployment", NAME, is_measured(), timeout=60))
    measured, plan = status["measured"], status["plan"]
    assert plan["kvTokens"] == measured["planned"]["kvTokens"] == measured["kvTokens"] == SLOTS * LENGTH
    for name in ("weights", "kvCache", "activation", "memoryInUse", "memoryTotal"):
        assert measured[name].endswith("Gi"), name
    assert measured["memoryTotal"] == "2.000Gi"
    assert measured["planErrorOf"] in ("kvTokens", "weights")
    [pod] = await kube.select("pods", OURS)
    assert measured["pod"] == pod["metadata"]["name"]
    assert measured["key"].startswith(pod["metadata"]["annotations"][PLAN_ANNOTATION])


async def test_the_next_load_is_measured_again_and_the_pods_are_not_replaced_because_of_it(kube: Kube) -> None:
    first = current_status(await kube.wait_for("llmdeployment", NAME, is_measured(), timeout=60))["measured"]
    await kube.delete("pod", first["pod"])
    await until_settled(kube, NAME, "Serving", timeout=120)
    after = await kube.wait_for("llmdeployment", NAME, is_measured(other_than=first["pod"]), timeout=60)
    assert current_status(after)["measured"]["startedAt"] > first["startedAt"]
    assert current_status(after)["measured"]["kvTokens"] == first["kvTokens"]
    pods = [each for each in await kube.select("pods", OURS) if "deletionTimestamp" not in each["metadata"]]
    assert [each["metadata"]["name"] for each in pods] == [current_status(after)["measured"]["pod"]]
