"""`compileCache` and `modelCache`: which volumes the operator claims, and with which rights."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.operator.reconciling.flags import OperatorSettings
from support.charts.helm import Refused, rendered
from support.programs.settings import operator_settings

OPERATOR = "slipway-operator"
READS, WRITES = {"get", "list", "watch"}, {"create", "patch", "delete"}


def operators(kind: str, values: dict[str, Any]) -> dict[str, Any]:
    objects = rendered("slipway", values)
    [found] = [each for each in objects if (each["kind"], each["metadata"]["name"]) == (kind, OPERATOR)]
    return found


def settings_with(**values: Any) -> OperatorSettings:
    [container] = operators("Deployment", values)["spec"]["template"]["spec"]["containers"]
    environment = {each["name"]: each.get("value", "slipway-system") for each in container["env"]}
    return operator_settings(["--runtimes="], environment)


def claimed(**compile_cache: Any) -> tuple[str, str, str]:
    """The size and the classes that the operator uses."""
    settings = settings_with(compileCache=compile_cache)
    return settings.compiled_size, settings.compiled_storage_class, settings.compiled_shared_class


def verbs(**values: Any) -> set[str]:
    """What the operator may do with PersistentVolumeClaims."""
    rules = operators("ClusterRole", values)["rules"]
    return {verb for rule in rules if "persistentvolumeclaims" in rule["resources"] for verb in rule["verbs"]}


def test_by_default_volumes_of_the_cluster_s_default_class_are_claimed() -> None:
    assert claimed() == ("10Gi", "", "")
    assert verbs() == READS | WRITES


def test_classes_and_size_reach_the_operator() -> None:
    named = {"size": "5Gi", "storageClassName": "fast.example", "sharedStorageClassName": "nfs"}
    assert claimed(**named) == ("5Gi", "fast.example", "nfs")


def test_the_same_holds_for_models_files() -> None:
    found = settings_with()
    assert (found.weights_size, found.weights_storage_class, found.weights_shared_class) == ("100Gi", "", "")
    named = {"size": "5Gi", "storageClassName": "fast.example", "sharedStorageClassName": "nfs"}
    found = settings_with(modelCache=named)
    assert (found.weights_size, found.weights_storage_class, found.weights_shared_class) == (
        "5Gi",
        "fast.example",
        "nfs",
    )


def test_without_claims_of_either_the_operator_may_only_read_them() -> None:
    none = {"claims": False}
    assert claimed(**none)[0] == settings_with(modelCache=none).weights_size == "0"
    assert verbs(compileCache=none, modelCache=none) == READS
    assert verbs(compileCache=none) == verbs(modelCache=none) == READS | WRITES


@pytest.mark.parametrize(
    ("value", "given"), [("size", "big"), ("size", "5"), ("storageClassName", "My_Class"), ("claims", "yes")]
)
def test_what_kubernetes_would_refuse_is_refused_by_helm(value: str, given: str) -> None:
    with pytest.raises(Refused, match=value):
        claimed(**{value: given})
