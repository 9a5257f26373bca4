"""What users with one of the cluster's default roles in one namespace may do after the charts were installed."""

from __future__ import annotations

import json

import pytest
from slipway_devcluster.cluster import Cluster
from slipway_devcluster.components import SLIPWAY_NAMESPACE as HOME
from support.builders.llmdeployments import gemma
from support.cluster import Kube, KubectlError
from support.cluster.releases import with_values

PERSON = "--as=nobody-in-particular", "--as-group=system:authenticated"
EVERY_ROLE = pytest.mark.parametrize("role", ["view", "edit", "admin"])


async def bind(kube: Kube, role: str) -> None:
    """Binds the role in the test's own namespace only."""
    await kube.run("create", "rolebinding", "person", f"--clusterrole={role}", "--user=nobody-in-particular")


@EVERY_ROLE
async def test_a_user_with_a_role_in_a_namespace_sees_its_models_and_all_accelerators(
    operator_pods: Cluster, neighbour_kube: Kube, role: str
) -> None:
    await bind(neighbour_kube, role)
    await neighbour_kube.run("get", "llmdeployments", *PERSON)
    found = json.loads(await neighbour_kube.run("get", "acceleratorprofiles", "--output=json", *PERSON))
    assert "cpu" in {each["metadata"]["name"] for each in found["items"]}
    with pytest.raises(KubectlError, match="cannot list resource"):
        await neighbour_kube.run("get", "llmdeployments", "--all-namespaces", *PERSON)


@EVERY_ROLE
async def test_an_editor_of_a_namespace_may_create_models_but_not_accelerators(
    operator_pods: Cluster, neighbour_kube: Kube, role: str
) -> None:
    await bind(neighbour_kube, role)
    create = ["create", "--dry-run=server", "--filename=-", *PERSON]
    if role == "view":
        with pytest.raises(KubectlError, match="cannot create resource"):
            await neighbour_kube.run(*create, stdin=json.dumps(gemma(min_replicas=0)))
    else:
        await neighbour_kube.run(*create, stdin=json.dumps(gemma(min_replicas=0)))
    with pytest.raises(KubectlError, match="cannot delete resource"):
        await neighbour_kube.run("delete", "acceleratorprofile", "cpu", "--dry-run=server", *PERSON)


async def test_accelerators_can_be_hidden_from_all_users(operator_pods: Cluster, neighbour_kube: Kube) -> None:
    await bind(neighbour_kube, "view")
    async with with_values(operator_pods, neighbour_kube.within(HOME), "accelerators.readableByAll=false"):
        with pytest.raises(KubectlError, match="cannot list resource"):
            await neighbour_kube.run("get", "acceleratorprofiles", *PERSON)
