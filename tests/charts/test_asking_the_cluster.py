"""Checks and notes of the chart that need a cluster, which `helm template` and Argo CD don't have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from slipway.operator.reconciling.platform import KEDA, KSERVE
from support.builders.objects import Object
from support.charts.helm import Refused, notes, rendered
from support.fakes import helm_lookups

TYPES = (
    "slipway.dev/v1alpha1/LLMDeployment",
    "slipway.dev/v1alpha1/AcceleratorProfile",
    "serving.kserve.io/v1beta1/InferenceService",
    "serving.kserve.io/v1alpha1/ClusterServingRuntime",
    "keda.sh/v1alpha1/ScaledObject",
)


def deployment(name: str, namespace: str, image: str = "example/it:1", version: str = "") -> Object:
    labels = {"app.kubernetes.io/version": version} if version else {}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"template": {"spec": {"containers": [{"image": image}]}}},
    }


KSERVE_THERE = deployment(KSERVE.controller, "kserve")
OTHERS = deployment("somebody-else", "keda")


def keda(namespace: str = "keda", image: str = "ghcr.io/kedacore/keda:2.21.0", version: str = "") -> Object:
    return deployment(KEDA.controller, namespace, image, version)


def warnings_of(folder: Path, objects: Sequence[Object], values: dict[str, Any] | None = None) -> str:
    with helm_lookups.served(folder, objects) as kubeconfig:
        asking = {"dry_run": "server", "kubeconfig": str(kubeconfig), "api_versions": ",".join(TYPES)}
        return notes(values, **asking)


def test_there_is_no_warning_where_the_cluster_matches_the_values(tmp_path: Path) -> None:
    notes = warnings_of(tmp_path, [KSERVE_THERE, OTHERS, keda()])
    assert "WARNING" not in notes
    assert "CVE" not in notes


@pytest.mark.parametrize(
    ("others", "value", "namespace"),
    [
        ([KSERVE_THERE, keda("kserve")], "platform.kedaNamespace", "kserve"),
        ([keda(), deployment(KSERVE.controller, "keda")], "platform.kserveNamespace", "keda"),
    ],
    ids=["KEDA", "KServe"],
)
def test_a_component_in_another_namespace_is_reported_with_the_command_that_sets_it(
    tmp_path: Path, others: list[Object], value: str, namespace: str
) -> None:
    """As after slipway-platform has installed both into one namespace."""
    notes = warnings_of(tmp_path, [OTHERS, *others])
    assert notes.count("WARNING") == 1
    command = "helm upgrade slipway CHARTS/slipway --namespace slipway-system --reset-then-reuse-values"
    assert f"  {command} --set {value}={namespace}\n" in f"{notes}\n"
    assert "WARNING" not in warnings_of(tmp_path, others, {"platform": {value.partition(".")[2]: namespace}})


def test_a_missing_component_is_reported_with_what_does_not_work_without_it(tmp_path: Path) -> None:
    notes = warnings_of(tmp_path, [KSERVE_THERE])
    assert "WARNING: The namespace keda of platform.kedaNamespace has no Deployment keda-operator" in notes
    assert "so models don't scale, and don't wake from zero." in notes
    assert "Install it, or set platform.kedaNamespace to its namespace." in notes


def test_with_rights_in_some_namespaces_no_other_namespace_is_read(tmp_path: Path) -> None:
    notes = warnings_of(tmp_path, [KSERVE_THERE, keda("kserve")], {"watchNamespaces": ["chat"]})
    assert "Install it, or set platform.kedaNamespace to its namespace." in notes


@pytest.mark.parametrize(
    "old",
    [
        keda(image="ghcr.io/kedacore/keda:2.20.1"),
        keda(image="registry:5000/keda:v2.9.3@sha256:" + "0" * 64),
        keda(image="registry:5000/keda@sha256:" + "0" * 64, version="2.17.2"),
        keda(image="registry:5000/keda:latest", version="v2.20.0"),
    ],
    ids=["tag", "tag and digest", "label", "label and tag"],
)
def test_a_keda_version_with_a_critical_vulnerability_causes_a_warning(tmp_path: Path, old: Object) -> None:
    assert "WARNING: KEDA 2." in (notes := warnings_of(tmp_path, [KSERVE_THERE, old]))
    assert "has the critical CVE-2026-77524. Update it to 2.21 or later." in notes


def test_for_a_keda_without_a_version_label_the_required_version_is_named(tmp_path: Path) -> None:
    notes = warnings_of(tmp_path, [KSERVE_THERE, keda(image="registry.example.com/keda:stable")])
    assert "WARNING" not in notes
    assert "KEDA must be 2.21 or later" in notes


def test_a_second_release_is_refused_with_the_remedy(tmp_path: Path) -> None:
    where = {"meta.helm.sh/release-name": "first", "meta.helm.sh/release-namespace": "llm"}
    role = {**helm_lookups.VIEW, "metadata": {"name": "slipway-operator", "annotations": where}}
    with pytest.raises(Refused) as refused, helm_lookups.served(tmp_path, [role]) as kubeconfig:
        rendered("slipway", dry_run="server", kubeconfig=str(kubeconfig), api_versions=",".join(TYPES))
    refusal = str(refused.value)
    assert "Slipway is already installed in this cluster, as release first in namespace llm" in refusal
    assert "`helm uninstall first --namespace llm`" in refusal
