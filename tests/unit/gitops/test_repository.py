"""The template of a repository: what its Applications name exists, and its models are valid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from slipway.api.acceleratorprofile import AcceleratorProfile
from slipway.api.llmdeployment import LLMDeployment

ROOT = Path(__file__).parents[3]
REPOSITORY, FLUX = ROOT / "manifests/argocd/repository", ROOT / "manifests/flux"
URL = "https://git.example.com/models.git"
CHARTS = {f"charts/{path.parent.name}" for path in (ROOT / "charts").glob("*/Chart.yaml")}
"""Files that are copied into it, as docs/gitops.md says."""
APPS = {
    path.stem: yaml.safe_load(path.read_text())
    for path in [REPOSITORY / "root.yaml", *sorted((REPOSITORY / "apps").glob("*.yaml"))]
}
APPLICATIONS = {name: app for name, app in APPS.items() if app["kind"] == "Application"}
MODELS = sorted((REPOSITORY / "models").rglob("*.yaml"))
WAVE = "argocd.argoproj.io/sync-wave"


def wave(name: str) -> int:
    return int(APPS[name]["metadata"]["annotations"][WAVE])


@pytest.mark.parametrize("app", APPLICATIONS.values(), ids=APPLICATIONS.keys())
def test_the_sources_of_an_application_exist(app: dict[str, Any]) -> None:
    source = app["spec"]["source"]
    assert source["path"] in CHARTS or (REPOSITORY / source["path"]).is_dir()
    values = source.get("helm", {}).get("valueFiles", [])
    assert not [each for each in values if not (REPOSITORY / each.removeprefix("/")).is_file()]


def test_the_applications_are_synced_in_the_order_of_their_dependencies() -> None:
    assert wave("crds") < wave("platform") < wave("slipway") < wave("accelerators") < wave("models")
    assert wave("namespaces") < wave("models")
    for each in ("project-dev", "project-prod"):
        assert wave(each) < wave("models")


def test_all_applications_name_the_same_repository_so_that_one_replacement_changes_it() -> None:
    urls = [
        line.split()[-1]
        for path in REPOSITORY.rglob("*.yaml")
        for line in path.read_text().splitlines()
        if "://" in line
    ]
    of_git = [each for each in urls if "git." in each]
    assert of_git
    assert all(URL in each for each in of_git)


@pytest.mark.parametrize("name", ["crds", "platform"])
def test_crds_are_never_deleted(name: str) -> None:
    assert APPS[name]["spec"]["syncPolicy"]["automated"]["prune"] is False
    assert "finalizers" not in APPS[name]["metadata"]


def test_certificates_are_not_generated_again_each_time_the_platform_is_rendered() -> None:
    values = yaml.safe_load((REPOSITORY / "values/platform.yaml").read_text())
    assert values["global"]["kserveCertificates"] == "cert-manager"


@pytest.mark.parametrize("path", MODELS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_the_models_are_valid_and_get_their_namespace_from_their_folder(path: Path) -> None:
    model = LLMDeployment.model_validate(yaml.safe_load(path.read_text()))
    assert (model.metadata.name, model.metadata.namespace) == (path.parent.name, "")


def test_the_accelerators_in_the_repository_are_valid() -> None:
    for path in (REPOSITORY / "accelerators").glob("*.yaml"):
        AcceleratorProfile.model_validate(yaml.safe_load(path.read_text()))


def test_each_environment_of_the_models_has_a_cluster() -> None:
    [listed, _] = APPS["models"]["spec"]["generators"][0]["matrix"]["generators"]
    environments = {each["environment"] for each in listed["list"]["elements"]}
    assert environments == {path.relative_to(REPOSITORY / "models").parts[0] for path in MODELS}


# --- Flux ------------------------------------------------------------------------------------------------------------

OF_FLUX = [each for path in sorted(FLUX.glob("*.yaml")) for each in yaml.safe_load_all(path.read_text())]


def test_flux_reads_the_same_repository() -> None:
    [repository] = [each for each in OF_FLUX if each["kind"] == "GitRepository"]
    assert repository["spec"]["url"] == URL
    for each in OF_FLUX:
        source = each.get("spec", {}).get("sourceRef") or each.get("spec", {}).get("chart", {}).get("spec", {}).get(
            "sourceRef"
        )
        assert source in (None, {"kind": "GitRepository", "name": repository["metadata"]["name"]})
        if each["kind"] == "Kustomization":
            assert (REPOSITORY / each["spec"]["path"]).is_dir()
            assert each["spec"]["wait"] is True


def test_flux_applies_each_push_though_the_chart_version_is_the_same() -> None:
    charts = [each["spec"]["chart"]["spec"] for each in OF_FLUX if each["kind"] == "HelmRelease"]
    assert charts
    for chart in charts:
        assert chart["sourceRef"]["kind"] == "GitRepository"
        assert chart["reconcileStrategy"] == "Revision"
