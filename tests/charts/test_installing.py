"""The charts install everything, and all parts fit each other."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from slipway.activator.flags import ActivatorSettings
from slipway.activator.http1.channel import MOST_UNREAD
from slipway.activator.proxy.admission import GlobalLimits
from slipway.activator.proxy.config import ProxyConfig as ActivatorsOptions
from slipway.activator.tracking.watches import ActivatorService
from slipway.activator.tracking.watches import watches as activators_watches
from slipway.api import names, units
from slipway.api.names import GROUP
from slipway.contract.engines import OTHER_RUNTIMES
from slipway.objects.kinds import DEVICE_CLASS, NODE_POOL, RESOURCE_CLAIM, RESOURCE_SLICE
from slipway.operator.installation import Installation
from slipway.operator.reconciling.flags import OperatorSettings
from slipway.operator.reconciling.watches import watches
from slipway_devcluster import slipway
from slipway_devcluster.components import SLIPWAY_NAMESPACE
from slipway_devcluster.containerfiles import default_name
from slipway_devcluster.slipway import FETCHER_IMAGE, LLAMACPP_IMAGE, OPERATOR_IMAGE
from support.builders.objects import Object
from support.charts import third_party_runtimes
from support.charts.helm import manifests_of, name_of, rendered
from support.cluster import audit
from support.cluster.audit import Right
from support.programs.settings import activator_settings, operator_settings
from support.repository import ACCELERATORS, CRDS, POLICIES, ROOT, RUNTIMES, SAMPLES, documents

IDLE = 80 << 20  # bytes of the activator's memory before the first request: 71 MiB by `benchmarks/activator_memory.py`
CALLS_TO_KEDAS_PORT = 120 << 20  # the most for calls to KEDA's port by other pods (docs/security.md)
NAMESPACE_LABEL = "kubernetes.io/metadata.name"


EVERY_ENGINE = {"runtimes": {name: {"enabled": True} for name in third_party_runtimes.BY_ENGINE}}
DEV = {"images": {"tag": slipway.TAG}, **EVERY_ENGINE}
OBJECTS = [*rendered("slipway-crds"), *rendered("slipway", DEV)]


def kind_and_name(manifest: Object) -> tuple[str, str]:
    return manifest["kind"], name_of(manifest)


def of_kind(kind: str) -> list[Object]:
    return [manifest for manifest in OBJECTS if manifest["kind"] == kind]


OPERATOR, ACTIVATOR = "slipway-operator", "slipway-activator"
PROGRAMS = pytest.mark.parametrize("program", [OPERATOR, ACTIVATOR])


def only(kind: str, name: str = OPERATOR) -> Object:
    [found] = [manifest for manifest in of_kind(kind) if manifest["metadata"]["name"] == name]
    return found


def pod_of(program: str) -> Any:
    return only("Deployment", program)["spec"]["template"]


def container_of(program: str) -> Any:
    [container] = pod_of(program)["spec"]["containers"]
    return container


def environment(program: str) -> dict[str, str]:
    return {each["name"]: each.get("value", SLIPWAY_NAMESPACE) for each in container_of(program)["env"]}


def config_map(name: str) -> Object:
    [found] = [manifest for manifest in of_kind("ConfigMap") if manifest["metadata"]["name"] == name]
    return found


def options() -> OperatorSettings:
    """The settings that the operator reads in its pod."""
    with TemporaryDirectory() as folder:
        for name, text in config_map("slipway-runtimes")["data"].items():
            (Path(folder) / name).write_text(text)
        return operator_settings([f"--runtimes={folder}"], environment(OPERATOR))


def settings() -> ActivatorSettings:
    """The settings that the activator reads in its pod."""
    return activator_settings([], environment(ACTIVATOR))


# --- complete --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", [CRDS, POLICIES, ACCELERATORS, RUNTIMES], ids=lambda folder: folder.name)
def test_every_file_is_installed(folder: Path) -> None:
    assert set(map(kind_and_name, documents(folder))) <= set(map(kind_and_name, OBJECTS))


def test_nothing_is_installed_twice() -> None:
    names = [
        (manifest["kind"], manifest["metadata"].get("namespace"), manifest["metadata"]["name"]) for manifest in OBJECTS
    ]
    assert len(names) == len(set(names))


# --- images ----------------------------------------------------------------------------------------------------------


def test_the_images_built_in_this_repository_are_those_that_the_charts_use() -> None:
    containers = [
        container_of(OPERATOR),
        container_of(ACTIVATOR),
        *(each for runtime in of_kind("ClusterServingRuntime") for each in runtime["spec"]["containers"]),
    ]
    used = {container["image"] for container in containers if container["image"].startswith("localhost/")}
    used.add(environment(OPERATOR)["SLIPWAY_FETCHER_IMAGE"])
    containerfiles = [
        OPERATOR_IMAGE.containerfile,
        FETCHER_IMAGE.containerfile,
        *(ROOT / "runtime-image").glob("*.Containerfile"),
    ]
    assert used == {default_name(each) for each in containerfiles}


def test_third_party_engines_are_installed_if_enabled_with_the_images_that_their_files_name() -> None:
    """Regardless of the registry and tag of our own images."""
    assert not {*OTHER_RUNTIMES} & {name_of(manifest) for manifest in rendered("slipway")}
    ours = {"registry": "registry.example.com", "tag": "1.2"}
    installed = {name_of(manifest): manifest for manifest in rendered("slipway", {"images": ours, **EVERY_ENGINE})}
    for name, written in third_party_runtimes.BY_ENGINE.items():
        found = installed[f"slipway-{name}"]
        assert found["spec"]["annotations"] == written["spec"]["annotations"]
        [container], [as_written] = found["spec"]["containers"], written["spec"]["containers"]
        assert container["image"] == as_written["image"]


def test_the_operator_receives_the_names_of_third_party_engine_runtimes() -> None:
    """So an upgrade doesn't restart their models either."""
    received = options().runtimes
    for name in OTHER_RUNTIMES:
        assert received[name]["metadata"]["name"].startswith(f"{name}-")


@pytest.mark.parametrize("image", [OPERATOR_IMAGE, FETCHER_IMAGE, LLAMACPP_IMAGE], ids=lambda image: image.name)
def test_load_image_gives_an_image_the_name_that_the_charts_use(image: slipway.OwnImage) -> None:
    assert default_name(image.containerfile) == image.name


@PROGRAMS
def test_another_image_under_the_same_name_replaces_the_pods(program: str) -> None:
    def annotations(archive: str) -> Any:
        objects = {kind_and_name(manifest): manifest for manifest in rendered("slipway", slipway.values_with(archive))}
        deployment = objects["Deployment", program]
        return deployment["spec"]["template"]["metadata"]["annotations"]

    assert annotations("one.tar") != annotations("two.tar")


# --- the pod ---------------------------------------------------------------------------------------------------------


def test_the_programs_take_the_settings_of_their_pods() -> None:
    assert (options().namespace, options().log_format) == (SLIPWAY_NAMESPACE, "json")
    assert (settings().namespace, settings().log_format) == (SLIPWAY_NAMESPACE, "json")


def test_two_starts_of_one_container_have_different_identities_in_the_lease() -> None:
    assert options().identity != options().identity


@PROGRAMS
def test_probes_and_metrics_use_the_port_that_the_program_listens_on(program: str) -> None:
    ports = {port["name"]: port["containerPort"] for port in container_of(program)["ports"]}
    assert ports["management"] == options().management_port == settings().management_port
    requested = {
        container_of(program)[f"{probe}Probe"]["httpGet"]["port"] for probe in ("startup", "readiness", "liveness")
    }
    assert requested == {"management"}
    assert {port["targetPort"] for port in only("Service", program)["spec"]["ports"]} == ports.keys()


def test_the_activators_service_has_the_name_that_all_parts_use() -> None:
    assert settings().service == names.ACTIVATOR_SERVICE == ACTIVATOR
    [scaler] = [port for port in only("Service", ACTIVATOR)["spec"]["ports"] if port["name"] == "scaler"]
    assert scaler["port"] == settings().scaler_port == names.ACTIVATOR_GRPC_PORT
    assert only("Service", ACTIVATOR)["metadata"]["labels"][names.ACTIVATOR_LABEL] == ACTIVATOR


def test_the_activators_memory_suffices_for_held_and_pipelined_requests() -> None:
    limit = units.amount(container_of(ACTIVATOR)["resources"]["limits"]["memory"])
    held, sent_ahead = settings().max_bytes, ActivatorsOptions().connections * MOST_UNREAD
    assert held == GlobalLimits().max_bytes
    assert limit >= 2 * held  # as the help of the flag promises
    assert limit >= IDLE + held + sent_ahead + CALLS_TO_KEDAS_PORT


def test_the_activator_has_time_to_drain_before_it_is_killed() -> None:
    grace = pod_of(ACTIVATOR)["spec"]["terminationGracePeriodSeconds"]
    assert grace > settings().drain + container_of(ACTIVATOR)["lifecycle"]["preStop"]["sleep"]["seconds"]


@PROGRAMS
def test_pods_meet_the_restricted_profile_that_their_namespace_enforces(program: str) -> None:
    assert slipway.HOME["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    context = pod_of(program)["spec"]["securityContext"]
    assert context == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert container_of(program)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


@PROGRAMS
def test_every_selector_for_a_programs_pods_matches_them(program: str) -> None:
    pod = pod_of(program)
    [term] = pod["spec"]["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    selectors = [
        only("Deployment", program)["spec"]["selector"]["matchLabels"],
        only("PodDisruptionBudget", program)["spec"]["selector"]["matchLabels"],
        only("Service", program)["spec"]["selector"],
        term["podAffinityTerm"]["labelSelector"]["matchLabels"],
    ]
    assert all(selector.items() <= pod["metadata"]["labels"].items() for selector in selectors)


# --- rights ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "kind"),
    [(program, kind) for program in (OPERATOR, ACTIVATOR) for kind in ("ClusterRole", "Role")],
)
def test_roles_are_bound_to_the_account_of_the_pod(program: str, kind: str) -> None:
    name = pod_of(program)["spec"]["serviceAccountName"]
    binding = only(f"{kind}Binding", program)
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": name, "namespace": SLIPWAY_NAMESPACE}]
    assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == (kind, only(kind, program)["metadata"]["name"])


def test_the_lease_is_the_one_that_the_role_is_for() -> None:
    named = [rule["resourceNames"] for rule in only("Role")["rules"] if "resourceNames" in rule]
    assert named == [[options().lease_name]]


POLLED = (NODE_POOL, DEVICE_CLASS, RESOURCE_SLICE, RESOURCE_CLAIM)
"""Kinds that are read now and then (`reconciling/supply_polling.py`), besides pods."""


def test_the_operator_may_watch_exactly_the_kinds_that_it_watches() -> None:
    installation = Installation(SLIPWAY_NAMESPACE, options().activators)
    made = watches(
        everyone=lambda: (), on_node=lambda _: (), node=lambda _: None, ports=lambda _: (), installation=installation
    )
    watched = {watch.kind for watch in made}
    needed = {Right(verb, kind.group, kind.plural) for kind in watched for verb in ("list", "watch")}
    needed |= {Right("list", kind.group, kind.plural) for kind in POLLED}
    granted = audit.granted([only("ClusterRole"), only("Role")])
    assert needed == {right for right in granted if right.verb in ("list", "watch")}


def test_the_activator_may_only_watch_its_kinds_and_look_up_clients() -> None:
    watched = {watch.kind for watch in activators_watches(ActivatorService(SLIPWAY_NAMESPACE, ACTIVATOR), lambda _: ())}
    needed = {Right(verb, kind.group, kind.plural) for kind in watched for verb in ("list", "watch")}
    granted = set(audit.granted([only("ClusterRole", ACTIVATOR), only("Role", ACTIVATOR)]))
    assert needed | {Right("get", "", "namespaces")} == granted


@pytest.mark.parametrize(("program", "in_other_namespaces"), [(OPERATOR, {"get"}), (ACTIVATOR, set())])
def test_config_maps_are_written_and_watched_only_in_slipways_own_namespace(
    program: str, in_other_namespaces: set[str]
) -> None:
    """In other namespaces, the operator only checks whether an object of a spec exists."""
    granted = audit.granted([only("ClusterRole", program)])
    assert {right.verb for right in granted if right.resource == "configmaps"} == in_other_namespaces
    assert only("Role", program)["metadata"]["namespace"] == SLIPWAY_NAMESPACE


def test_only_keda_and_the_other_replicas_reach_the_scaler_port() -> None:
    rules = only("NetworkPolicy", ACTIVATOR)["spec"]["ingress"]
    [sources] = [rule["from"] for rule in rules for port in rule["ports"] if port["port"] == names.ACTIVATOR_GRPC_PORT]
    assert sources == [
        {"namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: settings().keda_namespace}}},
        {"podSelector": only("NetworkPolicy", ACTIVATOR)["spec"]["podSelector"]},
    ]


@PROGRAMS
def test_metrics_can_be_read_from_slipways_namespace_and_those_that_the_installer_names(program: str) -> None:
    rules = only("NetworkPolicy", program)["spec"]["ingress"]
    [sources] = [rule["from"] for rule in rules for port in rule["ports"] if port["port"] == options().management_port]
    assert sources == [
        {"podSelector": {}},
        {
            "namespaceSelector": {
                "matchExpressions": [{"key": NAMESPACE_LABEL, "operator": "In", "values": ["monitoring"]}]
            }
        },
    ]


def test_the_sample_allows_the_activator_to_read_one_secret_and_nothing_else() -> None:
    role, binding = yaml.safe_load_all((SAMPLES / "keys-at-zero.yaml").read_text())
    [rule] = role["rules"]
    assert audit.granted([role]) == {Right("get", "", "secrets")}
    assert len(rule["resourceNames"]) == 1
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    account = pod_of(ACTIVATOR)["spec"]["serviceAccountName"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": SLIPWAY_NAMESPACE}]


def test_the_network_policies_of_models_admit_the_activators_pods() -> None:
    assert pod_of(ACTIVATOR)["metadata"]["labels"]["app.kubernetes.io/name"] == names.ACTIVATOR_SERVICE


def test_no_rule_has_a_wildcard_or_covers_secrets() -> None:
    rights = audit.granted([*of_kind("ClusterRole"), *of_kind("Role")])
    assert not any("*" in right or right.resource == "secrets" for right in rights)


def test_all_users_may_read_accelerators_and_nothing_else() -> None:
    """They are cluster-scoped, so a role in a namespace doesn't include them."""
    for_all_users = [each for each in of_kind("ClusterRoleBinding") if each["subjects"][0]["kind"] != "ServiceAccount"]
    [binding] = for_all_users
    [subject] = binding["subjects"]
    assert (subject["kind"], subject["name"]) == ("Group", "system:authenticated")
    granted = audit.granted([only("ClusterRole", binding["roleRef"]["name"])])
    assert granted == {Right(verb, GROUP, "acceleratorprofiles") for verb in ("get", "list", "watch")}


def test_the_operator_may_not_change_what_users_write() -> None:
    writes = {right for right in audit.granted([only("ClusterRole")]) if right.verb not in ("get", "list", "watch")}
    assert {right.resource for right in writes if right.group == GROUP} == {
        "acceleratorprofiles/status",
        "llmdeployments/status",
        "llmdeployments/finalizers",
    }


# --- the engines' runtimes -------------------------------------------------------------------------------------------


def runtimes(values: dict[str, Any]) -> dict[str, Object]:
    """The runtimes by engine."""
    objects = [*rendered("slipway", values)]
    return {name_of(each): each for each in objects if each["kind"] == "ClusterServingRuntime"}


CHANGES: list[dict[str, Any]] = [
    {"images": {"registry": "registry.example"}},
    {"images": {"tag": "another"}},
    {"images": {"pullSecrets": [{"name": "registry"}]}},
    {"runtimes": {"llamacpp": {"image": {"digest": f"sha256:{'0' * 64}"}}}},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: str(next(iter(change))))
def test_a_runtime_that_differs_has_another_name_so_that_no_model_restarts(change: dict[str, Any]) -> None:
    before, after = runtimes({})["slipway-llamacpp"], runtimes(change)["slipway-llamacpp"]
    assert before["spec"] != after["spec"]
    assert before["metadata"]["name"] != after["metadata"]["name"]


def test_a_runtime_that_is_the_same_keeps_its_name() -> None:
    assert runtimes({})["slipway-llamacpp"] == runtimes({"activator": {"replicas": 5}})["slipway-llamacpp"]


def test_the_operator_reads_all_runtimes_from_where_its_pod_mounts_them() -> None:
    assert options().runtimes == runtimes(DEV)
    [pod] = [each["spec"]["template"]["spec"] for each in of_kind("Deployment") if name_of(each) == OPERATOR]
    [volume] = pod["volumes"]
    [mount] = container_of(OPERATOR)["volumeMounts"]
    assert volume["configMap"]["name"] == "slipway-runtimes"
    assert (volume["name"], mount["mountPath"]) == (mount["name"], environment(OPERATOR)["SLIPWAY_RUNTIMES"])


def test_the_operators_pod_is_replaced_when_runtimes_change_since_it_reads_them_at_its_start() -> None:
    def annotations(values: dict[str, Any]) -> dict[str, str]:
        [found] = [
            each for each in rendered("slipway", values) if name_of(each) == OPERATOR and each["kind"] == "Deployment"
        ]
        annotated: dict[str, str] = found["spec"]["template"]["metadata"]["annotations"]
        return annotated

    assert annotations({}) == annotations({"activator": {"replicas": 5}})
    assert annotations({}) != annotations({"images": {"tag": "another"}})


def test_no_install_tool_tracks_the_runtimes_so_none_removes_those_of_the_previous_release() -> None:
    assert not [each for each in manifests_of("slipway") if each["kind"] == "ClusterServingRuntime"]
