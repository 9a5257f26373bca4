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
    async with model_at_zero(neighbour_kube, access=allowed) as asked:
        assert await asked.request() == (403, "not_allowed_from_here")
        assert await asked.request(within=asked.other, labels=FRIEND) == (403, "not_allowed_from_here")
        past_the_service = await asked.activators_port()
        assert await asked.request(within=asked.other, labels=FRIEND, to=past_the_service) == (
            403,
            "not_allowed_from_here",
        )
        assert await asked.request("GET /v1/models", labels=FRIEND) == (200, "")
        assert await asked.is_asleep()
        await asked.wakes(labels=FRIEND)


@pytest.mark.slow
async def test_a_namespace_is_matched_by_labels_that_its_tenants_cannot_set(
    operator_pods: Cluster, neighbour_kube: Kube
) -> None:
    selector = {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "Exists"}]}
    among = {"matchLabels": {"team": "blue"}}
    peers = [{"namespaceSelector": among}, {"namespaceSelector": selector, "podSelector": {"matchLabels": FRIEND}}]
    async with model_at_zero(neighbour_kube, access={"allowFrom": peers}) as asked:
        assert await asked.request(within=asked.other, labels={"team": "blue"}) == (403, "not_allowed_from_here")
        await asked.other.run("label", "namespace", asked.other.namespace, "team=blue")
        await until(lambda: is_answered(asked.request("GET /health", within=asked.other), 200))
        assert await asked.is_asleep()


def secret(**owners: str) -> Object:
    data = {owner: base64.b64encode(key.encode()).decode() for owner, key in owners.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "api-keys"}, "data": data}


@pytest.mark.slow
async def test_a_key_that_is_rotated_while_the_model_sleeps_counts_within_seconds(
    operator_pods: Cluster, neighbour_kube: Kube
) -> None:
    await neighbour_kube.apply(secret(alice=ALICE))
    async with model_at_zero(neighbour_kube, access={"apiKeysSecret": "api-keys"}) as asked:
        await neighbour_kube.wait_for("llmdeployment", "gemma", lambda it: "keys-at-zero" in said(it))
        for each in yaml.safe_load_all((SAMPLES / "keys-at-zero.yaml").read_text()):
            await neighbour_kube.apply(each)
        assert await asked.request() == (401, "missing_api_key")
        await until(lambda: is_answered(asked.request("GET /v1/models", key=ALICE), 200))
        assert await asked.request(key=BOB) == (401, "invalid_api_key")
        await neighbour_kube.apply(secret(alice=BOB))
        await until(lambda: is_answered(asked.request("GET /v1/models", key=ALICE), 401))
        assert await asked.is_asleep()
        await asked.wakes(key=BOB)


def said(deployment: Object) -> str:
    return " ".join(deployment.get("status", {}).get("plan", {}).get("why", []))


LOOKED_AT = [
    ("GET /health", 200, ""),
    ("OPTIONS /v1/models", 405, "method_not_allowed"),
    ("GET /v1/models/gemma", 200, ""),
]


@pytest.mark.parametrize(("line", "status", "code"), LOOKED_AT, ids=[line for line, *_ in LOOKED_AT])
async def test_a_request_without_inference_does_not_wake_the_model(
    operator_pods: Cluster, neighbour_kube: Kube, line: str, status: int, code: str
) -> None:
    async with model_at_zero(neighbour_kube) as asked:
        assert await asked.request(line) == (status, code)
        await asked.own.never("pods", selector=OURS, seconds=3)
