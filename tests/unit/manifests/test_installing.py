"""What `kubectl apply -k manifests` installs: all that there is, and every part fits the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from slipway.api.names import GROUP
from slipway.reconciling.options import Options, parse
from slipway.reconciling.watches import watches
from slipway_devcluster import images, slipway
from slipway_devcluster.components import SLIPWAY_NAMESPACE
from slipway_devcluster.slipway import LLAMACPP_IMAGE, OPERATOR_IMAGE
from support import audit
from support.audit import Right
from support.kube import Object
from support.rendered import MANIFESTS, ROOT

NOT_INSTALLED = {"samples"}


def applied(folder: Path) -> list[Path]:
    """The files that `kubectl apply -k` of the folder takes."""
    listed = yaml.safe_load((folder / "Kustomization").read_text())["resources"]
    paths = [(folder / each).resolve() for each in listed]
    return [file for path in paths for file in (applied(path) if path.is_dir() else [path])]


FILES = applied(MANIFESTS)
OBJECTS: list[Object] = [thing for file in FILES for thing in yaml.safe_load_all(file.read_text()) if thing]


def of_kind(kind: str) -> list[Object]:
    return [thing for thing in OBJECTS if thing["kind"] == kind]


def only(kind: str) -> Object:
    [found] = of_kind(kind)
    return found


POD: Any = only("Deployment")["spec"]["template"]
[CONTAINER] = POD["spec"]["containers"]


def options() -> Options:
    """As the operator reads them in its pod."""
    return parse([], {each["name"]: each.get("value", SLIPWAY_NAMESPACE) for each in CONTAINER["env"]})


# --- complete --------------------------------------------------------------------------------------------------------


def test_every_manifest_is_installed_but_the_samples() -> None:
    folders = [ROOT / "crds", *(each for each in MANIFESTS.iterdir() if each.is_dir())]
    wanted = {file for folder in folders if folder.name not in NOT_INSTALLED for file in folder.glob("*.yaml")}
    assert set(FILES) == wanted


def test_nothing_is_installed_twice() -> None:
    names = [(thing["kind"], thing["metadata"].get("namespace"), thing["metadata"]["name"]) for thing in OBJECTS]
    assert len(names) == len(set(names))


# --- what is built is what is asked for ------------------------------------------------------------------------------


def test_the_images_of_this_repository_are_those_that_the_manifests_ask_for() -> None:
    containers = [
        CONTAINER,
        *(each for runtime in of_kind("ClusterServingRuntime") for each in runtime["spec"]["containers"]),
    ]
    asked = {container["image"] for container in containers if container["image"].startswith("localhost/")}
    containerfiles = [OPERATOR_IMAGE.containerfile, *(ROOT / "runtime-image").glob("*.Containerfile")]
    assert asked == {images.default_name(each) for each in containerfiles}


@pytest.mark.parametrize("image", [OPERATOR_IMAGE, LLAMACPP_IMAGE], ids=lambda image: image.name)
def test_load_image_gives_an_image_the_name_that_the_manifests_ask_for(image: slipway.OwnImage) -> None:
    assert images.default_name(image.containerfile) == image.name


def test_another_image_under_the_same_name_replaces_the_pods() -> None:
    def annotations(archive: str) -> Any:
        copies = yaml.safe_load_all((MANIFESTS / "operator/deployment.yaml").read_text())
        [deployment] = slipway.marked(list(copies), archive)
        return deployment["spec"]["template"]["metadata"]["annotations"]

    assert annotations("one.tar") != annotations("two.tar")


# --- the pod ---------------------------------------------------------------------------------------------------------


def test_the_operator_takes_the_settings_of_its_pod() -> None:
    assert options().namespace == SLIPWAY_NAMESPACE
    assert options().log_format == "json"


def test_two_starts_of_the_same_container_are_two_in_the_eyes_of_the_lease() -> None:
    assert options().identity != options().identity


def test_probes_and_metrics_ask_the_port_that_the_operator_listens_on() -> None:
    [port] = CONTAINER["ports"]
    assert port["containerPort"] == options().management_port
    asked = {CONTAINER[f"{probe}Probe"]["httpGet"]["port"] for probe in ("startup", "readiness", "liveness")}
    assert asked == {port["name"]}
    [service_port] = only("Service")["spec"]["ports"]
    assert service_port["targetPort"] == port["name"]


def test_the_pod_keeps_the_restricted_profile_that_its_namespace_enforces() -> None:
    assert only("Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert POD["spec"]["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_whatever_selects_the_operators_pods_finds_them() -> None:
    [term] = POD["spec"]["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    selectors = [
        only("Deployment")["spec"]["selector"]["matchLabels"],
        only("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        only("Service")["spec"]["selector"],
        term["podAffinityTerm"]["labelSelector"]["matchLabels"],
    ]
    assert all(selector.items() <= POD["metadata"]["labels"].items() for selector in selectors)


# --- rights ----------------------------------------------------------------------------------------------------------


def test_the_roles_are_bound_to_the_account_of_the_pod() -> None:
    account = {"kind": "ServiceAccount", "name": POD["spec"]["serviceAccountName"], "namespace": SLIPWAY_NAMESPACE}
    for kind in ("ClusterRole", "Role"):
        binding = only(f"{kind}Binding")
        assert binding["subjects"] == [account]
        assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == (kind, only(kind)["metadata"]["name"])


def test_the_lease_is_the_one_that_the_role_is_for() -> None:
    named = [rule["resourceNames"] for rule in only("Role")["rules"] if "resourceNames" in rule]
    assert named == [[options().lease_name]]


def test_the_operator_may_watch_all_that_it_watches_and_nothing_else() -> None:
    watched = {watch.kind for watch in watches(everyone=lambda: (), on_node=lambda _: (), node=lambda _: None)}
    needed = {Right(verb, kind.group, kind.plural) for kind in watched for verb in ("list", "watch")}
    assert needed == {right for right in audit.granted([only("ClusterRole")]) if right.verb in ("list", "watch")}


def test_no_right_is_for_everything_or_for_secrets() -> None:
    rights = audit.granted([only("ClusterRole"), only("Role")])
    assert not any("*" in right or right.resource == "secrets" for right in rights)


def test_the_operator_changes_nothing_that_people_write() -> None:
    writes = {right for right in audit.granted([only("ClusterRole")]) if right.verb not in ("get", "list", "watch")}
    assert {right.resource for right in writes if right.group == GROUP} == {
        "llmdeployments/status",
        "llmdeployments/finalizers",
    }
