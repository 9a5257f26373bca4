"""Pods become targets with the labels that Prometheus' own discovery would give them."""

from __future__ import annotations

from pathlib import Path

from support.builders.objects import Object
from support.monitoring.discovery import Files, targets

PORTS = [{"name": "http", "containerPort": 8080}, {"containerPort": 8081}]


def pod(**status: str) -> Object:
    labels = {"slipway.dev/llmdeployment": "a"}
    return {
        "metadata": {"name": "a-1", "namespace": "team", "labels": labels},
        "spec": {"containers": [{"name": "kserve-container", "ports": PORTS}]},
        "status": {"podIP": "10.0.0.1", "phase": "Running", **status},
    }


def test_each_declared_port_is_a_target() -> None:
    found = targets([pod()])
    assert [each["targets"] for each in found] == [["10.0.0.1:8080"], ["10.0.0.1:8081"]]
    ports = [
        (each["labels"]["__meta_kubernetes_pod_container_port_name"], each["labels"]["__meta_kubernetes_namespace"])
        for each in found
    ]
    assert ports == [("http", "team"), ("", "team")]


def test_a_pods_labels_are_given_with_their_presence() -> None:
    labels = targets([pod()])[0]["labels"]
    assert labels["__meta_kubernetes_pod_label_slipway_dev_llmdeployment"] == "a"
    assert labels["__meta_kubernetes_pod_labelpresent_slipway_dev_llmdeployment"] == "true"


def test_a_pod_without_an_address_is_no_target() -> None:
    assert targets([pod(podIP="")]) == []


def test_an_error_of_the_watch_changes_nothing(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.note({"type": "ADDED", "object": pod()})
    files.note({"type": "ERROR", "object": {"kind": "Status", "code": 410}})
    assert [path.name for path in tmp_path.iterdir()] == ["team.json"]
    files.note({"type": "DELETED", "object": pod()})
    assert (tmp_path / "team.json").read_text() == "[]"
