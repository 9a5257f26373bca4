"""Access at zero on a real cluster: pods of two namespaces call a sleeping model, and only allowed ones wake it."""

from __future__ import annotations

import base64

import pytest
import yaml
from slipway_devcluster.cluster import Cluster
from support.cluster import Kube, Object
from support.cluster.model_at_zero import FRIEND, OURS, is_answered, model_at_zero
from support.repository import SAMPLES
from support.waiting import until

ALICE, BOB = "sk-alice-1234", "sk-bob-12345"


async def test_only_allowed_pods_wake_a_model(operator_pods: Cluster, neighbour_kube: Kube) -> None:
    allowed = {"allowFrom": [{"podSelector": {"matchLabels": FRIEND}}]}
    async with model_at_zero(neighbour_kube, access=allowed) as model:
        assert await model.request() == (403, "not_allowed_from_here")
        assert await model.request(within=model.other, labels=FRIEND) == (403, "not_allowed_from_here")
        activator_address = await model.activators_port()
        assert await model.request(within=model.other, labels=FRIEND, to=activator_address) == (
            403,
            "not_allowed_from_here",
        )
        assert await model.request("GET /v1/models", labels=FRIEND) == (200, "")
        assert await model.is_asleep()
        await model.wakes(labels=FRIEND)


@pytest.mark.slow
async def test_a_namespace_is_matched_by_labels_that_its_tenants_cannot_set(
    operator_pods: Cluster, neighbour_kube: Kube
) -> None:
    selector = {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "Exists"}]}
    among = {"matchLabels": {"team": "blue"}}
    peers = [{"namespaceSelector": among}, {"namespaceSelector": selector, "podSelector": {"matchLabels": FRIEND}}]
    async with model_at_zero(neighbour_kube, access={"allowFrom": peers}) as model:
        assert await model.request(within=model.other, labels={"team": "blue"}) == (403, "not_allowed_from_here")
        await model.other.run("label", "namespace", model.other.namespace, "team=blue")
        await until(lambda: is_answered(model.request("GET /health", within=model.other), 200))
        assert await model.is_asleep()


def secret(**owners: str) -> Object:
    data = {owner: base64.b64encode(key.encode()).decode() for owner, key in owners.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "api-keys"}, "data": data}


@pytest.mark.slow
async def test_a_key_that_is_rotated_while_the_model_sleeps_counts_within_seconds(
    operator_pods: Cluster, neighbour_kube: Kube
) -> None:
    await neighbour_kube.apply(secret(alice=ALICE))
    async with model_at_zero(neighbour_kube, access={"apiKeysSecret": "api-keys"}) as model:
        await neighbour_kube.wait_for("llmdeployment", "gemma", lambda it: "keys-at-zero" in message_of(it))
        for each in yaml.safe_load_all((SAMPLES / "keys-at-zero.yaml").read_text()):
            await neighbour_kube.apply(each)
        assert await model.request() == (401, "missing_api_key")
        await until(lambda: is_answered(model.request("GET /v1/models", key=ALICE), 200))
        assert await model.request(key=BOB) == (401, "invalid_api_key")
        await neighbour_kube.apply(secret(alice=BOB))
        await until(lambda: is_answered(model.request("GET /v1/models", key=ALICE), 401))
        assert await model.is_asleep()
        await model.wakes(key=BOB)


def message_of(deployment: Object) -> str:
    return " ".join(deployment.get("status", {}).get("plan", {}).get("why", []))


WITHOUT_INFERENCE = [
    ("GET /health", 200, ""),
    ("OPTIONS /v1/models", 405, "method_not_allowed"),
    ("GET /v1/models/gemma", 200, ""),
]


@pytest.mark.parametrize(("line", "status", "code"), WITHOUT_INFERENCE, ids=[line for line, *_ in WITHOUT_INFERENCE])
async def test_a_request_without_inference_does_not_wake_the_model(
    operator_pods: Cluster, neighbour_kube: Kube, line: str, status: int, code: str
) -> None:
    async with model_at_zero(neighbour_kube) as model:
        assert await model.request(line) == (status, code)
        await model.own.never("pods", selector=OURS, seconds=3)
