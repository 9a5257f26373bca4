"""The effect of the charts' values: each switch, and each value that isn't simply copied."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from support.builders.objects import Object
from support.charts.helm import name_of, rendered
from support.charts.values import DIGEST, defaults, nested
from support.repository import CHARTS

Path_ = tuple[str, ...]

SWITCHES = [
    # value, and the object that exists only with it
    ("slipway-crds", "policies.enabled", "ValidatingAdmissionPolicy", "restricted.slipway.dev"),
    ("slipway", "operator.disruptionBudget", "PodDisruptionBudget", "slipway-operator"),
    ("slipway", "activator.disruptionBudget", "PodDisruptionBudget", "slipway-activator"),
    ("slipway", "activator.autoscaling.enabled", "HorizontalPodAutoscaler", "slipway-activator"),
    ("slipway", "userRoles", "ClusterRole", "slipway-edit"),
    ("slipway", "cliRoles", "ClusterRole", "slipway-cli-edit"),
    ("slipway", "accelerators.readableByAll", "ClusterRoleBinding", "slipway-accelerators-view"),
    ("slipway", "networkPolicies", "NetworkPolicy", "slipway-operator"),
    ("slipway", "monitoring.podMonitor.enabled", "PodMonitor", "slipway"),
    ("slipway", "monitoring.serviceMonitor.enabled", "ServiceMonitor", "slipway"),
    ("slipway", "monitoring.dashboards.enabled", "ConfigMap", "slipway-fleet-dashboard"),
    ("slipway", "monitoring.rules.enabled", "PrometheusRule", "slipway-rules"),
    ("slipway", "modelCache.node.enabled", "DaemonSet", "slipway-node-cache"),
    ("slipway", "runtimes.llamacpp.enabled", "ClusterServingRuntime", "slipway-llamacpp"),
    ("slipway", "runtimes.vllm-cpu.enabled", "ClusterServingRuntime", "slipway-vllm-cpu"),
    ("slipway", "runtimes.vllm-cuda.enabled", "ClusterServingRuntime", "slipway-vllm-cuda"),
    ("slipway", "runtimes.vllm-rocm.enabled", "ClusterServingRuntime", "slipway-vllm-rocm"),
    ("slipway", "runtimes.sglang.enabled", "ClusterServingRuntime", "slipway-sglang"),
    ("slipway", "runtimes.tgi.enabled", "ClusterServingRuntime", "slipway-tgi"),
    ("slipway", "runtimes.lmdeploy.enabled", "ClusterServingRuntime", "slipway-lmdeploy"),
    ("slipway", "runtimes.triton.enabled", "ClusterServingRuntime", "slipway-triton"),
    ("slipway", "runtimes.nim.enabled", "ClusterServingRuntime", "slipway-nim"),
    ("slipway", "runtimes.ovms.enabled", "ClusterServingRuntime", "slipway-ovms"),
    ("slipway", "accelerators.vendors.cpu", "AcceleratorProfile", "cpu"),
    ("slipway", "accelerators.vendors.nvidia", "AcceleratorProfile", "h100-80gb"),
    ("slipway", "accelerators.vendors.nvidia-rtx", "AcceleratorProfile", "rtx-4090"),
    ("slipway", "accelerators.vendors.nvidia-mig", "AcceleratorProfile", "a100-80gb-mig-3g.40gb"),
    ("slipway", "accelerators.vendors.amd", "AcceleratorProfile", "mi300x"),
    ("slipway", "accelerators.vendors.intel", "AcceleratorProfile", "gaudi3"),
    ("slipway", "accelerators.vendors.google", "AcceleratorProfile", "tpu-v5e"),
    ("slipway", "accelerators.vendors.ibm", "AcceleratorProfile", "spyre"),
]
RIGHTS = {f"accelerators.supply.{name}" for name in ("nodePools", "dynamicResources", "pods")}
ALERTS = {f"monitoring.rules.alerts.{name}.enabled" for name in defaults("slipway")["monitoring"]["rules"]["alerts"]}
CHANGES_OBJECTS = {
    "keep",
    "fixedUserIds",
    "planner.hub.enabled",
    "compileCache.claims",
    "fetcher.enabled",
    "modelCache.claims",
    *RIGHTS,
    *ALERTS,
}
ALL = ["slipway", "slipway-crds"]


def rendered_names(chart: str, values: dict[str, Any]) -> set[tuple[str, str]]:
    return {(manifest["kind"], name_of(manifest)) for manifest in rendered(chart, values)}


def program(name: str, values: dict[str, Any]) -> Object:
    [found] = [
        manifest
        for manifest in rendered("slipway", values)
        if (manifest["kind"], manifest["metadata"]["name"]) == ("Deployment", name)
    ]
    return found


def booleans(values: Any, path: Path_ = ()) -> Iterator[str]:
    if isinstance(values, bool):
        yield ".".join(path)
    elif isinstance(values, dict):
        for key, each in values.items():
            yield from booleans(each, (*path, key))


# --- switches --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("chart", "value", "kind", "name"), SWITCHES, ids=[row[1] for row in SWITCHES])
def test_a_switch_adds_and_removes_an_object(chart: str, value: str, kind: str, name: str) -> None:
    assert (kind, name) in rendered_names(chart, nested(value, value=True))
    assert (kind, name) not in rendered_names(chart, nested(value, value=False))


@pytest.mark.parametrize("chart", ALL)
def test_there_is_no_other_switch(chart: str) -> None:
    assert {row[1] for row in SWITCHES if row[0] == chart} == set(booleans(defaults(chart))) - CHANGES_OBJECTS


def test_crds_outlive_their_release_unless_configured_otherwise() -> None:
    def annotations(values: dict[str, Any]) -> list[Any]:
        objects = rendered("slipway-crds", values)
        return [each["metadata"].get("annotations") for each in objects if each["kind"] == "CustomResourceDefinition"]

    assert annotations({}) == [{"helm.sh/resource-policy": "keep"}] * 2
    assert annotations({"keep": False}) == [None] * 2


def containers(values: dict[str, Any]) -> list[Any]:
    """Of all pods, including those that KServe will create."""
    found = []
    for manifest in rendered("slipway", values):
        spec = manifest.get("spec", {})
        pod = spec.get("template", {}).get("spec") or (spec if "containers" in spec else {})
        found += [{"pod": pod.get("securityContext") or {}, **each} for each in pod.get("containers", [])]
    return found


def test_where_the_cluster_assigns_user_ids_none_is_set_and_root_is_still_refused() -> None:
    for container in containers({"fixedUserIds": False}):
        context = container["pod"] | container["securityContext"]
        assert not {"runAsUser", "runAsGroup", "fsGroup"} & context.keys()
        assert context["runAsNonRoot"]


def test_the_image_users_are_numeric_so_the_kubelet_sees_that_none_is_root() -> None:
    files = [*(CHARTS.parent / "runtime-image").glob("*.Containerfile"), CHARTS.parent / "operator/Containerfile"]
    users = [line.split()[1] for file in files for line in file.read_text().splitlines() if line.startswith("USER ")]
    assert len(users) == len(files)
    assert all(re.fullmatch(r"[1-9]\d*:[1-9]\d*", user) for user in users)


# --- effects ---------------------------------------------------------------------------------------------------------


VERSION = (CHARTS.parent / "VERSION").read_text().strip()


@pytest.mark.parametrize(
    ("images", "image"),
    [
        ({}, f"localhost/slipway-operator:{VERSION}"),
        ({"registry": "registry.example.com/llm", "tag": "1"}, "registry.example.com/llm/slipway-operator:1"),
        ({"tag": "1", "operator": {"tag": "2"}}, "localhost/slipway-operator:2"),
        ({"tag": "1", "operator": {"digest": DIGEST}}, f"localhost/slipway-operator@{DIGEST}"),
        ({"registry": "registry.example.com/llm/"}, f"registry.example.com/llm/slipway-operator:{VERSION}"),
        ({"operator": {"registry": "other", "repository": "us/operator"}}, f"other/us/operator:{VERSION}"),
    ],
    ids=str,
)
def test_an_image_is_named_in_one_place(images: dict[str, Any], image: str) -> None:
    for name in ("slipway-operator", "slipway-activator"):
        [container] = program(name, {"images": images})["spec"]["template"]["spec"]["containers"]
        assert container["image"] == image


def every_image(images: dict[str, Any]) -> set[str]:
    values = {"images": images, "runtimes": {name: {"enabled": True} for name in defaults("slipway")["runtimes"]}}
    pods = [each for each in rendered("slipway", values) if each["kind"] == "Pod"]
    return {each["image"] for each in [*containers(values), *(each["spec"]["containers"][0] for each in pods)]}


def test_a_mirror_has_every_image_under_its_own_repository_and_tag() -> None:
    usual, mirrored = every_image({}), every_image({"mirror": "mirror.example.com/all/"})
    assert {image.partition("/")[0] for image in usual} == {"localhost", "docker.io", "ghcr.io", "nvcr.io"}
    assert mirrored == {f"mirror.example.com/all/{image.partition('/')[2]}" for image in usual}


def test_user_ids_are_those_of_the_values() -> None:
    values_file = (CHARTS / "slipway/values.yaml").read_text()
    values = {"runtimes": {name: {"enabled": True} for name in defaults("slipway")["runtimes"]}}
    fixed = {each["securityContext"].get("runAsUser") for each in containers(values)} - {None}
    assert {str(each) for each in fixed} == set(
        re.findall(r"\b\d{4,}\b", values_file.partition("fixedUserIds:")[0].split("\n\n")[-1])
    )


def test_a_price_replaces_only_that_of_its_profile() -> None:
    def prices(values: dict[str, Any]) -> dict[str, float]:
        objects = [each for each in rendered("slipway", values) if each["kind"] == "AcceleratorProfile"]
        return {each["metadata"]["name"]: each["spec"].get("costPerHour") for each in objects}

    assert prices({"accelerators": {"costPerHour": {"l4": 0.45}}}) == prices({}) | {"l4": 0.45}
    assert prices({"accelerators": {"costPerHour": {"l4": 0}}}) == prices({}) | {"l4": 0}


def test_a_price_may_be_a_string_since_helms_set_has_no_fractions() -> None:
    objects = rendered("slipway", {"accelerators": {"costPerHour": {"l4": "0.45"}}})
    assert [each["spec"]["costPerHour"] for each in objects if each["metadata"]["name"] == "l4"] == [0.45]


def test_common_labels_and_annotations_are_on_all_objects_but_runtimes_and_replace_no_selector_label() -> None:
    values = {
        "commonLabels": {"team": "ml", "app.kubernetes.io/name": "taken"},
        "commonAnnotations": {"contact": "ml@example.com"},
        "monitoring": {"podMonitor": {"enabled": True}},
    }
    for manifest in rendered("slipway", values):
        metadata = manifest["metadata"]
        assert (metadata["labels"]["team"], metadata["annotations"]["contact"]) == ("ml", "ml@example.com")
        assert metadata["labels"]["app.kubernetes.io/name"] != "taken"


def runtime_with(common: dict[str, dict[str, str]]) -> Any:
    [found] = [each for each in rendered("slipway", common) if name_of(each) == "slipway-llamacpp"]
    return found["metadata"]


def test_common_labels_and_annotations_are_added_to_runtimes_and_replace_none() -> None:
    taken = {"slipway.dev/runtime": "taken", "app.kubernetes.io/component": "taken", "team": "ml"}
    found = runtime_with({"commonAnnotations": {"contact": "ml@example.com"}, "commonLabels": taken})
    assert found["annotations"] == {"contact": "ml@example.com"}
    assert found["labels"] | {"team": "ml"} == found["labels"]
    assert found["labels"]["slipway.dev/runtime"] == "slipway-llamacpp"
    assert found["labels"]["app.kubernetes.io/component"] == "runtime"


def test_common_annotations_replace_none_of_the_self_test() -> None:
    objects = rendered("slipway", {"commonAnnotations": {"helm.sh/hook": "pre-install"}})
    [pod] = [each for each in objects if each["kind"] == "Pod"]
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"


def test_every_activator_is_complete_and_the_operator_receives_all_of_them() -> None:
    values = {"activator": {"names": ["slipway-activator", "other"]}}
    of_first = {kind for kind, name in rendered_names("slipway", values) if name == "slipway-activator"}
    assert {kind for kind, name in rendered_names("slipway", values) if name == "other"} == of_first
    [container] = program("slipway-operator", values)["spec"]["template"]["spec"]["containers"]
    assert {"name": "SLIPWAY_ACTIVATORS", "value": "slipway-activator,other"} in container["env"]


@pytest.mark.parametrize("name", ["operator", "activator"])
def test_a_given_variable_replaces_the_charts_own(name: str) -> None:
    """The API server reports a variable with two entries as a conflict of server-side apply."""
    given = [{"name": "SLIPWAY_LOG_LEVEL", "value": "debug"}, {"name": "OTHER", "value": "1"}]

    def env(values: dict[str, Any]) -> Any:
        [container] = program(f"slipway-{name}", values)["spec"]["template"]["spec"]["containers"]
        return container["env"]

    own = [each for each in env({}) if each["name"] != "SLIPWAY_LOG_LEVEL"]
    assert env({name: {"env": given}}) == [*own, *given]


def test_with_an_autoscaler_the_chart_does_not_set_the_replicas() -> None:
    scaled = program("slipway-activator", {"activator": {"autoscaling": {"enabled": True}}})
    assert "replicas" not in scaled["spec"]


def test_extra_objects_are_plain_objects_or_templates() -> None:
    braces = "{{ $labels.pod }} of {{ unknown }}"
    plain = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "plain"}, "data": {"alert": braces}}
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}-text'}\n"
    objects = rendered("slipway", {"extraObjects": [plain, text]})
    found = {manifest["metadata"]["name"]: manifest for manifest in objects if manifest["kind"] == "ConfigMap"}
    assert found.keys() == {"plain", "slipway-text", "slipway-runtimes"}
    assert found["plain"] == plain


@pytest.mark.parametrize(
    ("which", "kind", "endpoints"),
    [("podMonitor", "PodMonitor", "podMetricsEndpoints"), ("serviceMonitor", "ServiceMonitor", "endpoints")],
)
def test_prometheus_keeps_the_namespaces_of_llm_deployments_as_the_programs_name_them(
    which: str, kind: str, endpoints: str
) -> None:
    objects = rendered("slipway", {"monitoring": {which: {"enabled": True}}})
    [monitor] = [each for each in objects if each["kind"] == kind]
    assert [each["honorLabels"] for each in monitor["spec"][endpoints]] == [True]
