"""The node plugin as the chart installs it: what it may do, and where it may do it."""

from __future__ import annotations

from typing import Any

import click
import pytest
from slipway.api.names import NODE_CACHE, NODE_CACHE_DRIVER
from slipway.nodecache.main import main as program
from support.builders.objects import Object
from support.charts.helm import notes, rendered


def plugin(**values: Any) -> dict[str, Object]:
    """What the chart adds for it, by kind."""
    things = rendered("slipway", {"modelCache": {"node": {"enabled": True, **values}}})
    return {each["kind"]: each for each in things if each["metadata"]["name"] in (NODE_CACHE, NODE_CACHE_DRIVER)}


def container(**values: Any) -> Object:
    [found] = plugin(**values)["DaemonSet"]["spec"]["template"]["spec"]["containers"]
    return dict(found)


def test_it_is_off_by_default() -> None:
    names = {each["metadata"]["name"] for each in rendered("slipway")}
    assert not names & {NODE_CACHE, NODE_CACHE_DRIVER}


def test_restricted_namespaces_admit_its_volumes_which_are_inline_only() -> None:
    driver = plugin()["CSIDriver"]
    assert driver["metadata"]["name"] == NODE_CACHE_DRIVER
    assert driver["metadata"]["labels"]["security.kubernetes.io/csi-ephemeral-volume-profile"] == "restricted"
    assert driver["spec"] == {
        "attachRequired": False,
        "podInfoOnMount": True,
        "fsGroupPolicy": "None",
        "volumeLifecycleModes": ["Ephemeral"],
        "tokenRequests": [{"audience": NODE_CACHE_DRIVER}],
    }


def test_it_may_read_namespaces_and_have_tokens_reviewed_and_nothing_else() -> None:
    rights = {(*rule["apiGroups"], *rule["resources"], *rule["verbs"]) for rule in plugin()["ClusterRole"]["rules"]}
    assert rights == {("", "namespaces", "get"), ("authentication.k8s.io", "tokenreviews", "create")}


def test_only_what_must_reach_the_node_is_mounted_with_propagation() -> None:
    mounts = {each["mountPath"]: each.get("mountPropagation") for each in container()["volumeMounts"]}
    assert mounts == {
        "/var/lib/slipway/models": None,
        "/var/lib/kubelet/pods": "Bidirectional",
        "/var/lib/kubelet/plugins/models.slipway.dev": None,
        "/var/lib/kubelet/plugins_registry": None,
    }
    assert container()["securityContext"]["readOnlyRootFilesystem"]


def test_every_variable_is_a_flag_of_the_program() -> None:
    known = {each.envvar for each in program.params if isinstance(each, click.Option)}
    assert {each["name"] for each in container()["env"]} <= known


@pytest.mark.parametrize(
    ("value", "given", "variable", "expected"),
    [
        ("folder", "/data/models", "SLIPWAY_FOLDER", "/data/models"),
        ("kubeletFolder", "/var/lib/k0s/kubelet", "SLIPWAY_KUBELET_FOLDER", "/var/lib/k0s/kubelet"),
        ("totalSize", "500Gi", "SLIPWAY_TOTAL_SIZE", "500Gi"),
        ("namespaceSize", "200Gi", "SLIPWAY_NAMESPACE_SIZE", "200Gi"),
        ("minFreePercent", 20, "SLIPWAY_MIN_FREE_PERCENT", "20"),
        ("unusedFor", "48h", "SLIPWAY_UNUSED_FOR", "48h"),
    ],
)
def test_values_reach_the_program(value: str, given: Any, variable: str, expected: str) -> None:
    env = {each["name"]: each.get("value") for each in container(**{value: given})["env"]}
    assert env[variable] == expected


def test_it_may_have_a_namespace_of_its_own() -> None:
    found = plugin(namespace="slipway-node")
    places = {kind: each["metadata"].get("namespace") for kind, each in found.items()}
    assert {places[kind] for kind in ("DaemonSet", "ServiceAccount", "NetworkPolicy")} == {"slipway-node"}
    assert found["ClusterRoleBinding"]["subjects"][0]["namespace"] == "slipway-node"


def test_without_a_cluster_nothing_is_said_of_its_namespace() -> None:
    assert "node plugin" not in notes({"modelCache": {"node": {"enabled": True}}})


def test_prometheus_finds_it() -> None:
    values = {"modelCache": {"node": {"enabled": True}}, "monitoring": {"podMonitor": {"enabled": True}}}
    monitors = [each for each in rendered("slipway", values) if each["kind"] == "PodMonitor"]
    selected = [each["spec"]["selector"].get("matchLabels") for each in monitors]
    assert {"app.kubernetes.io/name": NODE_CACHE} in selected
