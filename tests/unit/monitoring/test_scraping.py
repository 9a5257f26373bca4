"""PodMonitors become the scrape configuration that the Prometheus operator would make of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.builders.objects import Object, manifest
from support.monitoring.scraping import UnknownFieldError, in_prometheus_words, scrape_configs

PODS = Path("/pods")
SELECTOR = {"matchLabels": {"slipway.dev/llmdeployment": "a.b"}}


def monitor(endpoint: Object | None = None, **spec: Any) -> Object:
    endpoints = [{"port": "management", **(endpoint or {})}]
    return manifest(
        "monitoring.coreos.com/v1",
        "PodMonitor",
        "model",
        metadata={"namespace": "team"},
        spec={"selector": SELECTOR, "podMetricsEndpoints": endpoints, **spec},
    )


def made_of(given: Object, **options: str) -> Object:
    [config] = in_prometheus_words(scrape_configs([given], PODS, **options))
    found: Object = config
    return found


def test_pods_are_selected_by_label_in_the_monitors_own_namespace() -> None:
    config = made_of(monitor())
    assert config["file_sd_configs"] == [{"files": ["/pods/team.json"]}]
    selects = {
        "action": "keep",
        "source_labels": [
            "__meta_kubernetes_pod_label_slipway_dev_llmdeployment",
            "__meta_kubernetes_pod_labelpresent_slipway_dev_llmdeployment",
        ],
        "regex": r"(a\.b);true",
    }
    assert selects in config["relabel_configs"]


@pytest.mark.parametrize(
    ("endpoint", "label", "value"),
    [
        ({}, "container_port_name", "management"),
        ({"port": None, "portNumber": 8081}, "container_port_number", "8081"),
    ],
)
def test_only_containers_that_declare_the_port_are_scraped(endpoint: Object, label: str, value: str) -> None:
    given = monitor()
    given["spec"]["podMetricsEndpoints"] = [{k: v for k, v in ({"port": "management"} | endpoint).items() if v}]
    keeps = {"action": "keep", "source_labels": [f"__meta_kubernetes_pod_{label}"], "regex": value}
    assert keeps in made_of(given)["relabel_configs"]


def test_a_pods_own_labels_are_renamed_unless_the_monitor_honors_them() -> None:
    assert made_of(monitor())["honor_labels"] is False
    assert made_of(monitor({"honorLabels": True}))["honor_labels"] is True


def test_own_relabelings_come_last_in_the_order_of_the_monitor() -> None:
    own = [{"targetLabel": "a", "replacement": "1"}, {"action": "LabelDrop", "regex": "pod"}]
    config = made_of(monitor({"relabelings": own, "metricRelabelings": own}))
    translated = [{"target_label": "a", "replacement": "1"}, {"action": "labeldrop", "regex": "pod"}]
    assert config["relabel_configs"][-2:] == translated
    assert config["metric_relabel_configs"] == translated


def test_a_selectors_expressions_are_translated() -> None:
    expressions = [
        {"key": "app", "operator": "In", "values": ["a", "b"]},
        {"key": "app", "operator": "NotIn", "values": ["c"]},
        {"key": "app", "operator": "Exists"},
        {"key": "tier", "operator": "DoesNotExist"},
    ]
    found = made_of(monitor(selector={"matchExpressions": expressions}))["relabel_configs"]
    selects = [(each["action"], each["regex"]) for each in found if "label" in str(each.get("source_labels"))]
    assert selects == [("keep", "(a|b);true"), ("drop", "(c);true"), ("keep", "true"), ("drop", "true")]


def test_the_tests_interval_replaces_that_of_the_monitor() -> None:
    assert made_of(monitor({"interval": "15s"}))["scrape_interval"] == "15s"
    assert made_of(monitor({"interval": "15s"}), interval="1s")["scrape_interval"] == "1s"


def test_limits_are_those_of_the_monitor() -> None:
    assert "sample_limit" not in made_of(monitor())
    assert made_of(monitor(sampleLimit=5))["sample_limit"] == 5


@pytest.mark.parametrize("spec", [{"keepDroppedTargets": 5}, {"namespaceSelector": {"any": True}}])
def test_a_field_that_is_not_translated_is_refused(spec: Object) -> None:
    with pytest.raises(UnknownFieldError):
        made_of(monitor(**spec))


def test_a_field_of_an_endpoint_that_is_not_translated_is_refused() -> None:
    with pytest.raises(UnknownFieldError, match="tlsConfig"):
        made_of(monitor({"tlsConfig": {}}))
