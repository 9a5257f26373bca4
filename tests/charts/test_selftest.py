"""The pod of `helm test`, and the notes after an installation."""

from __future__ import annotations

import pytest
from slipway.objects.kinds import DEPLOYMENT, SCALED_OBJECT
from slipway.selftest.checks import objects_name
from support.builders.objects import Object
from support.charts.helm import notes, rendered
from support.cluster import audit
from support.cluster.audit import Right
from support.programs.settings import selftest_settings

NAME = "slipway-selftest"
TWO = {"activator": {"names": ["slipway-activator", "other"]}}


def place(manifest: Object) -> tuple[str, str]:
    return manifest["kind"], manifest["metadata"]["name"]


def only(kind: str, objects: list[Object]) -> Object:
    [found] = [each for each in objects if place(each) == (kind, NAME)]
    return found


def test_the_pod_is_a_helm_test_and_replaces_the_previous_one() -> None:
    annotations = only("Pod", rendered("slipway"))["metadata"]["annotations"]
    assert annotations["helm.sh/hook"] == "test"
    assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation"


def test_the_pod_meets_the_restricted_profile_as_the_programs_do() -> None:
    objects = rendered("slipway")
    [deployment] = [each for each in objects if place(each) == ("Deployment", "slipway-operator")]
    theirs, ours = deployment["spec"]["template"]["spec"], only("Pod", objects)["spec"]
    assert ours["securityContext"] == theirs["securityContext"]
    assert ours["containers"][0]["securityContext"] == theirs["containers"][0]["securityContext"]


def test_the_pod_receives_the_settings_of_the_programs() -> None:
    [container] = only("Pod", rendered("slipway", TWO))["spec"]["containers"]
    env = {each["name"]: each.get("value", "slipway-system") for each in container["env"]}
    options = selftest_settings([], env)
    assert (options.activators, options.keda_namespace) == (("slipway-activator", "other"), "keda")
    assert options.pod


KEDAS = Right("get", "apps", "deployments")
"""The Deployment of KEDA's operator, by its name."""


def test_with_watched_namespaces_the_pod_has_no_cluster_wide_right() -> None:
    values = {"watchNamespaces": ["chat"], "platform": {"kedaNamespace": "elsewhere"}}
    objects = [each for each in rendered("slipway", values) if each["metadata"]["name"].startswith(NAME)]
    assert {each["kind"] for each in objects} == {"ServiceAccount", "Role", "RoleBinding", "Pod"}
    [role] = [each for each in objects if place(each) == ("Role", f"{NAME}-keda")]
    assert audit.granted([role]) == {KEDAS}
    assert role["metadata"]["namespace"] == "elsewhere"
    [binding] = [each for each in objects if place(each) == ("RoleBinding", f"{NAME}-keda")]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": NAME, "namespace": "slipway-system"}]


def test_the_pod_has_the_rights_that_it_needs_and_may_delete_only_what_it_creates() -> None:
    objects = rendered("slipway", TWO)
    assert audit.granted([only("ClusterRole", objects)]) == {KEDAS}
    assert audit.granted([only("Role", objects)]) == {
        Right("get", "coordination.k8s.io", "leases"),
        Right("create", "serving.kserve.io", "inferenceservices"),
        *(Right(verb, "apps", "deployments") for verb in ("create", "delete")),
        *(Right(verb, "keda.sh", "scaledobjects") for verb in ("create", "get", "delete")),
    }
    for kind in (DEPLOYMENT, SCALED_OBJECT):
        [rule] = [
            each
            for each in only("Role", objects)["rules"]
            if each["resources"] == [kind.plural] and "delete" in each["verbs"]
        ]
        assert rule["resourceNames"] == [objects_name(0), objects_name(1)]


# --- notes -----------------------------------------------------------------------------------------------------------

OURS = "slipway.dev/v1alpha1/LLMDeployment"
KSERVE, KEDA = "serving.kserve.io/v1beta1/InferenceService", "keda.sh/v1alpha1/ScaledObject"


def test_the_notes_name_the_next_command() -> None:
    assert "helm test slipway --namespace slipway-system --logs" in notes()


@pytest.mark.parametrize(
    ("installed", "missing"),
    [
        ([KSERVE, KEDA], ["LLMDeployments (slipway.dev/v1alpha1)"]),
        ([OURS, KEDA], ["KServe (InferenceService of serving.kserve.io/v1beta1)"]),
        ([OURS, KSERVE], ["KEDA (ScaledObject of keda.sh/v1alpha1)"]),
        ([OURS, KSERVE, KEDA], []),
        ([], ["LLMDeployments", "KServe", "KEDA"]),
    ],
)
def test_the_notes_name_missing_components(installed: list[str], missing: list[str]) -> None:
    printed = notes(api_versions=",".join(installed))
    warnings = [line for line in printed.splitlines() if line.startswith("WARNING")]
    assert len(warnings) == len(missing)
    assert all(f"doesn't have {words}" in line for words, line in zip(missing, warnings, strict=True))


@pytest.mark.parametrize("installed", ["", KEDA])
def test_the_notes_warn_of_keda_versions_with_a_critical_vulnerability(installed: str) -> None:
    assert "CVE-2026-77524" in notes(api_versions=installed)


def test_the_notes_name_the_watched_namespaces() -> None:
    assert "of the namespaces chat, code only" in notes({"watchNamespaces": ["chat", "code"]})


def test_with_other_activator_names_the_notes_name_the_command_for_slipway_crds() -> None:
    arguments = "--set 'policies.activators={slipway-activator,other},policies.slipwayNamespace=slipway-system'"
    assert arguments in notes(TWO)
    assert "policies.activators" not in notes()
