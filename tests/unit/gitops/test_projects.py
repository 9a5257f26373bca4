"""Write access to models/ allows LLMDeployments in the namespaces of the environment, and nothing else."""

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
"""The environment of each model in the repository, and its namespace in the cluster."""
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


def test_each_model_may_be_created_in_its_own_namespace() -> None:
    assert PLACES
    for environment, namespace in PLACES:
        project, server = project_of(environment), ENVIRONMENTS[environment]["server"]
        assert project.allows(GROUP, KIND, namespace, server=server), (environment, namespace)
        assert project.allows_source(TEMPLATE["source"]["repoURL"])
        assert namespace in NAMESPACES


@each_environment
@pytest.mark.parametrize("group_and_kind", OTHER_KINDS, ids=lambda each: each[1])
def test_no_other_kind_may_be_created_in_the_namespaces_of_models(
    environment: str, group_and_kind: tuple[str, str]
) -> None:
    assert not project_of(environment).allows(*group_and_kind, place_in(environment))


@each_environment
@pytest.mark.parametrize("group_and_kind", OF_THE_CLUSTER, ids=lambda each: each[1])
def test_no_cluster_scoped_object_and_no_namespace_may_be_created(
    environment: str, group_and_kind: tuple[str, str]
) -> None:
    assert not project_of(environment).allows(*group_and_kind, "")


def test_argo_cd_creates_no_namespace_on_its_own_either() -> None:
    assert not [each for each in TEMPLATE["syncPolicy"]["syncOptions"] if "CreateNamespace" in each]
    assert "managedNamespaceMetadata" not in TEMPLATE["syncPolicy"]


@each_environment
@pytest.mark.parametrize("namespace", OF_PARTS)
def test_a_file_cannot_put_its_model_into_a_namespace_of_the_platform(environment: str, namespace: str) -> None:
    """`metadata.namespace` overrides the namespace of the folder."""
    assert not project_of(environment).allows(GROUP, KIND, namespace)


def test_a_file_of_one_environment_cannot_put_its_model_into_another_environment() -> None:
    for environment, namespace in PLACES:
        for other in ENVIRONMENTS.keys() - {environment}:
            assert not project_of(other).allows(GROUP, KIND, namespace), (other, namespace)


@each_environment
def test_a_file_cannot_put_its_model_into_another_cluster(environment: str) -> None:
    assert not project_of(environment).allows(GROUP, KIND, place_in(environment), server="https://another.example.com")


def test_a_namespace_whose_file_was_deleted_is_kept_with_its_content() -> None:
    assert APPS["namespaces"]["spec"]["syncPolicy"]["automated"]["prune"] is False
    assert "finalizers" not in APPS["namespaces"]["metadata"]


# --- the rules themselves --------------------------------------------------------------------------------------------


def destinations(*namespaces: str, server: str = "*") -> Project:
    return Project({"destinations": [{"server": server, "namespace": each} for each in namespaces]})


def test_a_deny_rule_for_one_namespace_allows_all_others() -> None:
    """That is why the projects have no such rule."""
    assert destinations("*-dev", "!kserve").allows_destination("slipway-system")
    assert not destinations("*-dev", "!kserve").allows_destination("kserve")
    assert not destinations("*-dev").allows_destination("slipway-system")


def test_allowing_the_kind_namespace_would_allow_any_namespace() -> None:
    before = Project({"destinations": [], "clusterResourceWhitelist": [{"group": "", "kind": "Namespace"}]})
    assert before.allows("", "Namespace", "")
    assert not destinations("*").allows("", "Namespace", "")


def test_without_a_list_all_namespaced_kinds_are_allowed() -> None:
    assert destinations("*").allows("", "Secret", "chat")
    nothing = Project({**destinations("*").spec, "namespaceResourceWhitelist": []})
    assert not nothing.allows("", "Secret", "chat")
