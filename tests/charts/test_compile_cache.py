"""`compileCache`: which volumes for compiled code the operator claims, and with which rights."""

from __future__ import annotations

from typing import Any

import pytest
from support.charts.helm import Refused, rendered
from support.programs.settings import operator_settings

OPERATOR = "slipway-operator"
READS, WRITES = {"get", "list", "watch"}, {"create", "patch", "delete"}


def operators(kind: str, **compile_cache: Any) -> dict[str, Any]:
    objects = rendered("slipway", {"compileCache": compile_cache})
    [found] = [each for each in objects if (each["kind"], each["metadata"]["name"]) == (kind, OPERATOR)]
    return found


def claimed(**compile_cache: Any) -> tuple[str, str, str]:
    """The size and the classes that the operator uses."""
    [container] = operators("Deployment", **compile_cache)["spec"]["template"]["spec"]["containers"]
    environment = {each["name"]: each.get("value", "slipway-system") for each in container["env"]}
    settings = operator_settings(["--runtimes="], environment)
    return settings.compiled_size, settings.compiled_storage_class, settings.compiled_shared_class


def verbs(**compile_cache: Any) -> set[str]:
    """What the operator may do with PersistentVolumeClaims."""
    rules = operators("ClusterRole", **compile_cache)["rules"]
    return {verb for rule in rules if "persistentvolumeclaims" in rule["resources"] for verb in rule["verbs"]}


def test_by_default_volumes_of_the_cluster_s_default_class_are_claimed() -> None:
    assert claimed() == ("10Gi", "", "")
    assert verbs() == READS | WRITES


def test_classes_and_size_reach_the_operator() -> None:
    named = {"size": "5Gi", "storageClassName": "fast.example", "sharedStorageClassName": "nfs"}
    assert claimed(**named) == ("5Gi", "fast.example", "nfs")


def test_without_claims_the_operator_may_only_read_them() -> None:
    assert claimed(claims=False)[0] == "0"
    assert verbs(claims=False) == READS


@pytest.mark.parametrize(
    ("value", "given"), [("size", "big"), ("size", "5"), ("storageClassName", "My_Class"), ("claims", "yes")]
)
def test_what_kubernetes_would_refuse_is_refused_by_helm(value: str, given: str) -> None:
    with pytest.raises(Refused, match=value):
        claimed(**{value: given})
