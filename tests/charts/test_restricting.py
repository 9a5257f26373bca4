"""The policy of restricted namespaces covers every field of a pod, and each of its rules has a test on a cluster."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from slipway.api import names
from slipway.api.pod import PodSpecExtras
from support.charts.helm import Refused, rendered
from support.repository import POLICIES, documents, rows

POLICY, *_ = yaml.safe_load_all((POLICIES / "restricted.yaml").read_text())
KINDS = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
SCALERS = "restricted-scalers.slipway.dev"
RULES = POLICY["spec"]["validations"]
NARROW_ENOUGH = {
    "queueName": "a queue grants no more than its quota",
    "resources": "CPU and memory, which a ResourceQuota bounds",
    "volumeMounts": "in folders where no program looks for code",
    "imagePullSecrets": "for the kubelet only; docs/security.md mentions it",
}
FIELDS = {field.alias or name for name, field in PodSpecExtras.model_fields.items()}


@pytest.mark.parametrize("field", sorted(FIELDS - NARROW_ENOUGH.keys()))
def test_each_risky_pod_field_has_a_rule_in_a_restricted_namespace(field: str) -> None:
    assert [rule for rule in RULES if f".?{field}." in rule["expression"]]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["message"])[-40:])
def test_each_rule_of_a_restricted_namespace_has_a_cluster_test(rule: dict[str, Any]) -> None:
    assert rule["message"] in {row["says"] for row in rows("denied")}


# --- what KEDA may call ----------------------------------------------------------------------------------------------


def scalers(policies: dict[str, Any], namespace: str = "slipway-system") -> Any:
    """The addresses that its rule allows."""
    [policy] = [
        manifest
        for manifest in rendered("slipway-crds", {"policies": policies}, namespace=namespace)
        if (manifest["kind"], manifest["metadata"]["name"]) == ("ValidatingAdmissionPolicy", SCALERS)
    ]
    [rule] = policy["spec"]["validations"]
    assert "trigger.metadata['scalerAddress'] in variables.scalers" in rule["expression"]
    [expression] = [each["expression"] for each in policy["spec"]["variables"] if each["name"] == "scalers"]
    return json.loads(expression)  # a list of strings is written in CEL as in JSON


def address(activator: str, namespace: str) -> str:
    """As `rendering/scaledobject.py` writes it. What the policy denies: tests/cluster/test_api.py."""
    return f"{activator}.{namespace}:{names.ACTIVATOR_GRPC_PORT}"


def test_the_rendered_policies_match_their_files() -> None:
    def by_name(manifests: list[Any]) -> dict[Any, Any]:
        return {
            (manifest["kind"], manifest["metadata"]["name"]): manifest
            for manifest in manifests
            if manifest["kind"] in KINDS
        }

    assert by_name(rendered("slipway-crds")) == by_name(documents(POLICIES))


def test_in_restricted_namespaces_keda_may_call_slipways_own_activator() -> None:
    assert scalers({}) == [address(names.ACTIVATOR_SERVICE, "slipway-system")]


def test_keda_may_call_all_activators_whatever_slipways_namespace() -> None:
    two = ["slipway-activator", "second"]
    assert scalers({"activators": two}, "llm") == [address(each, "llm") for each in two]
    assert scalers({"slipwayNamespace": "llm"}) == [address("slipway-activator", "llm")]


@pytest.mark.parametrize("policies", [{"activators": ['a"]+["b']}, {"activators": []}, {"slipwayNamespace": "a.b:1"}])
def test_an_invalid_name_cannot_get_into_a_rule(policies: dict[str, Any]) -> None:
    with pytest.raises(Refused, match=r"does not match pattern|minItems"):
        rendered("slipway-crds", {"policies": policies})
