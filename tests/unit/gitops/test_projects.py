"""Who may write under models/ can have LLMDeployments made, in the namespaces of the environment, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from support.cluster.gitops.argocd_project import Project

ROOT = Path(__file__).parents[3]
REPOSITORY = ROOT / "manifests/argocd/repository"
GROUP, KIND = "slipway.dev", "LLMDeployment"


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


APPS = {path.stem: read(path) for path in sorted((REPOSITORY / "apps").glob("*.yaml"))}
PROJECTS = {each["metadata"]["name"]: Project(each["spec"]) for each in APPS.values() if each["kind"] == "AppProject"}
[MATRIX] = APPS["models"]["spec"]["generators"]
TEMPLATE = APPS["models"]["spec"]["template"]["spec"]
ENVIRONMENTS = {each["environment"]: each for each in MATRIX["matrix"]["generators"][0]["list"]["elements"]}
NAMESPACES = {read(path)["metadata"]["name"] for path in (REPOSITORY / "namespaces").glob("*.yaml")}
PLACES = [
    (environment.name, namespace.name + ENVIRONMENTS[environment.name]["suffix"])
    for environment in sorted((REPOSITORY / "models").iterdir())
    for namespace in sorted(environment.iterdir())
]
"""Of the models that are there: their environment, and their namespace in the cluster."""
OF_PARTS = ("kserve", "keda", "slipway-system", "argocd", "default", "kube-system", "kube-public", "flux-system")
OTHER_KINDS = [
    ("", "Secret"),
    ("", "Pod"),
    ("", "ConfigMap"),
    ("", "Service"),
    ("", "ServiceAccount"),
    ("apps", "Deployment"),
    ("batch", "Job"),
    ("rbac.authorization.k8s.io", "Role"),
    ("rbac.authorization.k8s.io", "RoleBinding"),
    ("serving.kserve.io", "InferenceService"),
    ("serving.kserve.io", "ServingRuntime"),
    ("argoproj.io", "Application"),
    ("argoproj.io", "AppProject"),
]
OF_THE_CLUSTER = [
    ("", "Namespace"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("slipway.dev", "AcceleratorProfile"),
    ("serving.kserve.io", "ClusterServingRuntime"),
]

each_environment = pytest.mark.parametrize("environment", ENVIRONMENTS)


def project_of(environment: str) -> Project:
    return PROJECTS[str(TEMPLATE["project"]).replace("{{ .environment }}", environment)]


def place_in(environment: str) -> str:
    return next(str(namespace) for each, namespace in PLACES if each == environment)


def test_each_model_may_be_where_it_is_to_be_and_its_namespace_is_the_owners() -> None:
    assert PLACES
    for environment, namespace in PLACES:
        project, server = project_of(environment), ENVIRONMENTS[environment]["server"]
        assert project.allows(GROUP, KIND, namespace, server=server), (environment, namespace)
        assert project.allows_source(TEMPLATE["source"]["repoURL"])
        assert namespace in NAMESPACES


@each_environment
@pytest.mark.parametrize("group_and_kind", OTHER_KINDS, ids=lambda each: each[1])
def test_nothing_else_may_be_there(environment: str, group_and_kind: tuple[str, str]) -> None:
    assert not project_of(environment).allows(*group_and_kind, place_in(environment))


@each_environment
@pytest.mark.parametrize("group_and_kind", OF_THE_CLUSTER, ids=lambda each: each[1])
def test_nothing_of_the_whole_cluster_may_be_made_and_no_namespace(
    environment: str, group_and_kind: tuple[str, str]
) -> None:
    assert not project_of(environment).allows(*group_and_kind, "")


def test_argo_cd_makes_no_namespace_beside_that() -> None:
    assert not [each for each in TEMPLATE["syncPolicy"]["syncOptions"] if "CreateNamespace" in each]
    assert "managedNamespaceMetadata" not in TEMPLATE["syncPolicy"]


@each_environment
@pytest.mark.parametrize("namespace", OF_PARTS)
def test_a_file_can_not_put_its_model_beside_the_parts_of_the_cluster(environment: str, namespace: str) -> None:
    """By `metadata.namespace`, which counts more than the place of the file."""
    assert not project_of(environment).allows(GROUP, KIND, namespace)


def test_a_file_of_one_environment_can_not_put_its_model_into_another_one() -> None:
    for environment, namespace in PLACES:
        for other in ENVIRONMENTS.keys() - {environment}:
            assert not project_of(other).allows(GROUP, KIND, namespace), (other, namespace)


@each_environment
def test_nor_into_another_cluster(environment: str) -> None:
    assert not project_of(environment).allows(GROUP, KIND, place_in(environment), server="https://another.example.com")


def test_a_namespace_whose_file_is_gone_stays_with_all_that_is_in_it() -> None:
    assert APPS["namespaces"]["spec"]["syncPolicy"]["automated"]["prune"] is False
    assert "finalizers" not in APPS["namespaces"]["metadata"]


# --- the rules themselves --------------------------------------------------------------------------------------------


def destinations(*namespaces: str, server: str = "*") -> Project:
    return Project({"destinations": [{"server": server, "namespace": each} for each in namespaces]})


def test_a_rule_that_forbids_one_namespace_allows_all_others() -> None:
    """Which is why the projects have none."""
    assert destinations("*-dev", "!kserve").allows_destination("slipway-system")
    assert not destinations("*-dev", "!kserve").allows_destination("kserve")
    assert not destinations("*-dev").allows_destination("slipway-system")


def test_what_was_allowed_when_the_namespace_was_the_files_own() -> None:
    before = Project({"destinations": [], "clusterResourceWhitelist": [{"group": "", "kind": "Namespace"}]})
    assert before.allows("", "Namespace", "")
    assert not destinations("*").allows("", "Namespace", "")


def test_kinds_of_namespaces_are_allowed_where_no_list_is_written() -> None:
    assert destinations("*").allows("", "Secret", "chat")
    nothing = Project({**destinations("*").spec, "namespaceResourceWhitelist": []})
    assert not nothing.allows("", "Secret", "chat")
