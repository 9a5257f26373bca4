"""`slipway-platform`: KServe's charts, as its module carries them, through ours. KEDA's chart isn't available here."""

from __future__ import annotations

import base64
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from slipway_devcluster.builds import ensure_built
from slipway_devcluster.paths import default_cache
from slipway_devcluster.platform import KEDA_TAG, KSERVE_VALUES
from slipway_devcluster.progress import Steps
from support.builders.objects import Object
from support.charts.helm import KUBERNETES, Refused, rendered, run
from support.charts.release_size import LIMIT, secret_size
from support.repository import CHARTS

PLATFORM = CHARTS / "slipway-platform"
STORAGE = "serving.kserve.io/v1alpha1/ClusterStorageContainer"
SECRET = ("Secret", "kserve-webhook-server-cert")
OF_KSERVE = ("kserve-crd", "kserve-resources")
WITH_TYPES: dict[str, Any] = {}
WITHOUT_TYPES = {"kserve": {"crds": False}}
CERT_MANAGER = {"global": {"kserveCertificates": "cert-manager"}, **WITHOUT_TYPES}


def chart_of(folder: Path) -> Any:
    return yaml.safe_load((folder / "Chart.yaml").read_text())


@pytest.fixture(scope="module")
def kserve() -> Path:
    """The charts in KServe's Go module."""
    cache = default_cache()
    return ensure_built("kserve", cache, Steps(cache)).source / "charts"


@pytest.fixture(scope="module")
def platform(kserve: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our chart with its dependencies, as after `helm dependency build`, except for KEDA's chart."""
    folder = tmp_path_factory.mktemp("charts") / PLATFORM.name
    shutil.copytree(PLATFORM, folder)
    chart = chart_of(folder)
    chart["dependencies"] = [each for each in chart["dependencies"] if each["name"] in OF_KSERVE]
    (folder / "Chart.yaml").write_text(yaml.safe_dump(chart))
    for name in OF_KSERVE:
        shutil.copytree(kserve / name, folder / "charts" / name)
    return folder


def by_name(manifests: list[Object]) -> dict[tuple[str, str], Object]:
    return {(manifest["kind"], manifest["metadata"]["name"]): manifest for manifest in manifests}


def objects(platform: Path, values: dict[str, Any], **options: str) -> dict[tuple[str, str], Object]:
    return by_name(rendered(platform, values, namespace="kserve", **options))


# --- what is declared ------------------------------------------------------------------------------------------------


def test_the_versions_are_those_that_slipway_is_tested_with(kserve: Path) -> None:
    wanted = {each["name"]: each["version"] for each in chart_of(PLATFORM)["dependencies"]}
    assert wanted == {**{name: chart_of(kserve / name)["version"] for name in OF_KSERVE}, "keda": KEDA_TAG}


def test_each_component_can_be_left_out(platform: Path) -> None:
    conditions = {each["name"]: each["condition"] for each in chart_of(PLATFORM)["dependencies"]}
    assert conditions == {"kserve-crd": "kserve.crds", "kserve-resources": "kserve.controller", "keda": "keda.enabled"}
    assert objects(platform, {"kserve": {"crds": False, "controller": False}}) == {}


def test_crds_are_installed_unless_they_are_left_out(platform: Path) -> None:
    def types(values: dict[str, Any]) -> set[str]:
        return {name for kind, name in objects(platform, values) if kind == "CustomResourceDefinition"}

    assert {"inferenceservices.serving.kserve.io", "clusterservingruntimes.serving.kserve.io"} <= types(WITH_TYPES)
    assert types(WITHOUT_TYPES) == set()


def test_a_name_that_does_not_exist_is_refused(platform: Path) -> None:
    with pytest.raises(Refused, match=r"renamed to kserve\.controller"):
        rendered(platform, {"kserve": {"controllers": True}})


def test_the_release_fits_into_helms_secret(platform: Path) -> None:
    """With all of KServe's CRDs, and the same size again for KEDA's."""
    assert secret_size(platform, WITH_TYPES) < LIMIT / 2


@pytest.mark.parametrize("name", ["slipway", "slipway-crds", "slipway-platform"])
def test_helm_lint_reports_nothing(name: str, platform: Path) -> None:
    chart = platform if name == platform.name else CHARTS / name
    assert "0 chart(s) failed" in run("lint", "--strict", f"--kube-version={KUBERNETES}", chart)


# --- KServe ----------------------------------------------------------------------------------------------------------


def test_kserve_has_the_settings_of_the_test_clusters(platform: Path) -> None:
    config = objects(platform, WITHOUT_TYPES)["ConfigMap", "inferenceservice-config"]["data"]
    settings = {value.rpartition(".")[2].partition("=")[::2] for value in KSERVE_VALUES}
    assert settings == {
        ("deploymentMode", "Standard"),
        ("disableIstioVirtualHost", "true"),
        ("disableIngressCreation", "true"),
    }
    assert yaml.safe_load(config["deploy"])["defaultDeploymentMode"] == "Standard"
    ingress = yaml.safe_load(config["ingress"])
    assert (ingress["disableIstioVirtualHost"], ingress["disableIngressCreation"]) == (True, True)


def test_with_cert_manager_everything_is_as_in_kserves_own_chart(platform: Path, kserve: Path) -> None:
    """Except for our values, which are passed here, too."""
    ours = objects(platform, CERT_MANAGER, api_versions=STORAGE)
    given = yaml.safe_load((PLATFORM / "values.yaml").read_text())["kserve-resources"]["kserve"]
    shared = {"createSharedResources": True}
    theirs = by_name(rendered(kserve / "kserve-resources", {"kserve": {**given, **shared}}, namespace="kserve"))
    assert ours == theirs


def test_with_certificates_from_helm_nothing_needs_cert_manager(platform: Path) -> None:
    kinds = {manifest["apiVersion"] for manifest in objects(platform, WITHOUT_TYPES).values()}
    assert not [each for each in kinds if each.startswith("cert-manager.io")]


def test_the_api_server_trusts_the_certificate_that_kserve_serves(platform: Path) -> None:
    manifests = objects(platform, WITHOUT_TYPES)
    files = {name: base64.b64decode(text) for name, text in manifests[SECRET]["data"].items()}
    shown, authority = (x509.load_pem_x509_certificate(files[name]) for name in ("tls.crt", "ca.crt"))
    shown.verify_directly_issued_by(authority)
    names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    webhooks = [each for manifest in manifests.values() for each in manifest.get("webhooks", [])]
    trusted = {base64.b64decode(each["clientConfig"]["caBundle"]) for each in webhooks}
    hosts = {f"{each['service']['name']}.{each['service']['namespace']}.svc" for each in map(client_of, webhooks)}
    assert trusted == {files["ca.crt"]}
    assert hosts == set(names.get_values_for_type(x509.DNSName))


def client_of(webhook: Object) -> Any:
    return webhook["clientConfig"]


def test_kserve_mounts_the_secret_that_the_chart_creates(platform: Path) -> None:
    pod = objects(platform, WITHOUT_TYPES)["Deployment", "kserve-controller-manager"]["spec"]["template"]["spec"]
    assert SECRET[1] in {volume.get("secret", {}).get("secretName") for volume in pod["volumes"]}


@pytest.mark.parametrize(("api_versions", "is_rendered"), [("", False), (STORAGE, True)])
def test_a_custom_resource_is_rendered_only_if_its_crd_exists(
    platform: Path, api_versions: str, *, is_rendered: bool
) -> None:
    manifests = objects(platform, WITHOUT_TYPES, api_versions=api_versions)
    assert (("ClusterStorageContainer", "default") in manifests) == is_rendered


def test_in_another_namespace_nothing_refers_to_the_default_one(platform: Path) -> None:
    manifests = by_name(rendered(platform, CERT_MANAGER, namespace="llm"))
    assert {manifest["metadata"].get("namespace", "llm") for manifest in manifests.values()} == {"llm"}
    webhooks = [each for manifest in manifests.values() for each in manifest.get("webhooks", [])]
    assert {client_of(each)["service"]["namespace"] for each in webhooks} == {"llm"}
    injected = re.findall(r"inject-ca-from: (\S+)", yaml.safe_dump([*manifests.values()]))
    assert set(injected) == {"llm/serving-cert"}
