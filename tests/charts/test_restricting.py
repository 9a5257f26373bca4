"""What the policy of restricted namespaces narrows: all that a pod may be given is judged, and each rule is tried."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from slipway.api.pod import PodSpecExtras
from support.slipway_api import POLICIES, rows

POLICY, *_ = yaml.safe_load_all((POLICIES / "restricted.yaml").read_text())
RULES = POLICY["spec"]["validations"]
NARROW_ENOUGH = {
    "queueName": "a queue gives no more than its quota",
    "resources": "CPU and memory, which a ResourceQuota bounds",
    "volumeMounts": "in folders where no program looks for code",
    "imagePullSecrets": "for the kubelet alone; docs/security.md tells of it",
}
FIELDS = {field.alias or name for name, field in PodSpecExtras.model_fields.items()}


@pytest.mark.parametrize("field", sorted(FIELDS - NARROW_ENOUGH.keys()))
def test_what_a_pod_may_be_given_is_judged_in_a_restricted_namespace(field: str) -> None:
    assert [rule for rule in RULES if f".?{field}." in rule["expression"]]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["message"])[-40:])
def test_each_rule_of_a_restricted_namespace_is_tried_on_a_cluster(rule: dict[str, Any]) -> None:
    assert rule["message"] in {row["says"] for row in rows("denied")}
