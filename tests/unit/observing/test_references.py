"""Objects that a spec names: found in every field that can name one, and reported by their field if missing."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.api.llmdeployment import LLMDeploymentSpec
from slipway.observing.causes import main_cause
from slipway.observing.references import (
    MOST_OF_RUNTIME,
    Reference,
    references_of,
    remarks,
    unmet_claim,
    unmet_in,
)
from slipway.observing.snapshot import UnmetReference
from support.builders.observed import container, deployment, snapshot
from support.builders.observed import pod as a_pod
from support.builders.rendering import profile

S3: dict[str, Any] = {"model": {"uri": "s3://models/llama"}}


def pod(**fields: Any) -> dict[str, Any]:
    return {**S3, "pod": fields}


def env(source: str, **more: Any) -> dict[str, Any]:
    return pod(env=[{"name": "A", "valueFrom": {source: {"name": "named", "key": "k", **more}}}])


def volume(**source: Any) -> dict[str, Any]:
    return pod(volumes=[{"name": "v", **source}])


NAMED = [
    ({"model": {"uri": "pvc://named/a/b"}}, "spec.model.uri", "PersistentVolumeClaim"),
    (
        {**S3, "engine": {"adapters": [{"name": "sql", "uri": "pvc://named/x"}]}},
        "spec.engine.adapters[sql].uri",
        "PersistentVolumeClaim",
    ),
    (
        {**S3, "engine": {"speculative": {"method": "draft", "tokens": 4, "model": "pvc://named/"}}},
        "spec.engine.speculative.model",
        "PersistentVolumeClaim",
    ),
    (
        volume(persistentVolumeClaim={"claimName": "named"}),
        "spec.pod.volumes[v]",
        "PersistentVolumeClaim",
    ),
    (volume(configMap={"name": "named"}), "spec.pod.volumes[v]", "ConfigMap"),
    (volume(secret={"secretName": "named"}), "spec.pod.volumes[v]", "Secret"),
    (env("secretKeyRef"), "spec.pod.env[A]", "Secret"),
    ({"model": {"uri": "hf://a/b", "credentialsSecret": "named"}}, "spec.model.credentialsSecret", "Secret"),
    ({**S3, "access": {"apiKeysSecret": "named"}}, "spec.access.apiKeysSecret", "Secret"),
    (pod(serviceAccountName="named"), "spec.pod.serviceAccountName", "ServiceAccount"),
    (pod(priorityClassName="named"), "spec.pod.priorityClassName", "PriorityClass"),
    (pod(runtimeClassName="named"), "spec.pod.runtimeClassName", "RuntimeClass"),
]
NOT_NEEDED = [
    S3,
    volume(configMap={"name": "named", "optional": True}),
    volume(secret={"secretName": "named", "optional": True}),
    volume(emptyDir={}),
    env("configMapKeyRef", optional=True),
    env("secretKeyRef", optional=True),
    pod(serviceAccountName="default"),
    pod(priorityClassName="system-cluster-critical"),
]


@pytest.mark.parametrize(("spec", "field", "kind"), NAMED, ids=[f"{field} {kind}" for _, field, kind in NAMED])
def test_a_reference_is_found_in_every_field_of_the_spec(spec: dict[str, Any], field: str, kind: str) -> None:
    assert references_of(LLMDeploymentSpec.model_validate(spec)) == (Reference(field, kind, "named"),)


@pytest.mark.parametrize("spec", NOT_NEEDED)
def test_optional_references_are_not_checked(spec: dict[str, Any]) -> None:
    assert references_of(LLMDeploymentSpec.model_validate(spec)) == ()


CONTAINERS = {
    "env": [
        {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "of-a", "key": "k"}}},
        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "of-b", "key": "k"}}},
        {"name": "C", "valueFrom": {"secretKeyRef": {"name": "of-c", "key": "k", "optional": True}}},
        {"name": "D", "value": "plain"},
    ],
    "envFrom": [{"configMapRef": {"name": "all"}}, {"secretRef": {"name": "secrets"}}],
}
RUNTIME: dict[str, Any] = {
    "kind": "ServingRuntime",
    "metadata": {"name": "own"},
    "spec": {
        "containers": [CONTAINERS],
        "volumes": [
            {"name": "v", "persistentVolumeClaim": {"claimName": "of-v"}},
            {"name": "w", "configMap": {"name": "of-w"}},
            {"name": "x", "secret": {"secretName": "of-x"}},
            {"name": "y", "emptyDir": {}},
        ],
        "imagePullSecrets": [{"name": "registry"}],
    },
}


def test_what_a_runtime_of_the_users_own_names_is_checked_too() -> None:
    found = references_of(LLMDeploymentSpec.model_validate(S3), runtime=RUNTIME)
    assert {each.field for each in found} == {"ServingRuntime own"}
    assert [(each.kind, each.name, each.key, each.is_needed) for each in found] == [
        ("ConfigMap", "all", "", True),
        ("Secret", "secrets", "", True),
        ("ConfigMap", "of-a", "k", True),
        ("Secret", "of-b", "", True),
        ("PersistentVolumeClaim", "of-v", "", True),
        ("ConfigMap", "of-w", "", True),
        ("Secret", "of-x", "", True),
        ("Secret", "registry", "", False),
    ]


def test_variables_and_volumes_of_a_runtime_that_the_spec_replaces_are_not_checked() -> None:
    replacing = pod(env=[{"name": "A", "value": "a"}], volumes=[{"name": "v", "emptyDir": {}}])
    found = references_of(LLMDeploymentSpec.model_validate(replacing), runtime=RUNTIME)
    assert not {each.name for each in found} & {"of-a", "of-v"}


def test_of_a_runtime_that_names_very_many_objects_a_part_is_looked_up() -> None:
    """Each is a request to the API server, at each reconcile."""
    sources = [{"configMapRef": {"name": f"c{number}"}} for number in range(1500)]
    many = {"metadata": {"name": "own"}, "spec": {"containers": [{"name": "kserve-container", "envFrom": sources}]}}
    assert len(references_of(LLMDeploymentSpec.model_validate(S3), runtime=many)) == MOST_OF_RUNTIME


def test_an_empty_runtime_names_nothing() -> None:
    empty = {"metadata": {"name": "own"}, "spec": {"containers": [{"name": "kserve-container"}]}}
    assert references_of(LLMDeploymentSpec.model_validate(S3), runtime=empty) == ()


def test_the_runtime_class_of_the_profile_is_checked_unless_the_spec_has_its_own() -> None:
    nvidia = profile("h100", runtimeClass="nvidia")
    found = references_of(LLMDeploymentSpec.model_validate(S3), profile=nvidia)
    assert found == (Reference("AcceleratorProfile h100", "RuntimeClass", "nvidia"),)
    own = references_of(LLMDeploymentSpec.model_validate(pod(runtimeClassName="own")), profile=nvidia)
    assert [each.name for each in own] == ["own"]


KEYED = [
    (env("configMapKeyRef"), ["k"]),
    (volume(configMap={"name": "named", "items": [{"key": "a", "path": "x"}, {"key": "b", "path": "y"}]}), ["a", "b"]),
    (volume(configMap={"name": "named", "items": [{"key": "a", "path": "x"}], "optional": True}), []),
    (volume(secret={"secretName": "named", "items": [{"key": "a", "path": "x"}]}), [""]),
    (env("secretKeyRef"), [""]),
]


@pytest.mark.parametrize(("spec", "keys"), KEYED)
def test_the_keys_of_a_config_map_are_checked_and_those_of_a_secret_are_not(
    spec: dict[str, Any], keys: list[str]
) -> None:
    assert [each.key for each in references_of(LLMDeploymentSpec.model_validate(spec))] == keys


REGISTRIES = [
    (pod(imagePullSecrets=[{"name": "named"}]), "spec.pod.imagePullSecrets[named]"),
    ({"model": {"uri": "oci://r/m@sha256:0", "credentialsSecret": "named"}}, "spec.model.credentialsSecret"),
]


@pytest.mark.parametrize(("spec", "field"), REGISTRIES)
def test_the_secret_of_a_registry_is_optional(spec: dict[str, Any], field: str) -> None:
    expected = Reference(field, "Secret", "named", is_needed=False)
    assert references_of(LLMDeploymentSpec.model_validate(spec)) == (expected,)


def test_a_secret_that_is_also_needed_elsewhere_is_required() -> None:
    both = pod(imagePullSecrets=[{"name": "named"}], volumes=[{"name": "v", "secret": {"secretName": "named"}}])
    assert [each.is_needed for each in references_of(LLMDeploymentSpec.model_validate(both))] == [True]


def test_an_object_that_is_named_twice_is_checked_once() -> None:
    spec = {"model": {"uri": "pvc://named/a"}, "engine": {"adapters": [{"name": "b", "uri": "pvc://named/b"}]}}
    assert [each.field for each in references_of(LLMDeploymentSpec.model_validate(spec))] == ["spec.model.uri"]


# --- claims ----------------------------------------------------------------------------------------------------------

URI = Reference("spec.model.uri", "PersistentVolumeClaim", "weights")


@pytest.mark.parametrize("phase", ["Bound", "Pending", ""])
def test_a_claim_that_waits_for_its_first_pod_is_not_missing(phase: str) -> None:
    assert unmet_claim(URI, {"status": {"phase": phase}}) is None


def test_a_claim_whose_volume_is_gone_is_reported() -> None:
    lack = unmet_claim(URI, {"status": {"phase": "Lost"}})
    assert lack
    cause = main_cause(snapshot(deployments=(deployment(0),), unmet=(lack,)))
    assert cause
    assert (cause.reason, cause.final) == ("VolumeNotReady", True)
    assert cause.message.startswith("spec.model.uri names PersistentVolumeClaim weights, whose volume is gone")


def test_a_missing_object_is_reported_with_its_field_its_name_and_the_remedy() -> None:
    cause = main_cause(
        snapshot(deployments=(deployment(0),), unmet=(UnmetReference(field="f", kind="Secret", name="s"),))
    )
    assert cause
    assert (cause.reason, cause.final) == ("PodConfigError", True)
    assert cause.message == "f names Secret s, which doesn't exist: create it, or correct the name"


# --- keys and optional objects ---------------------------------------------------------------------------------------

ENV = Reference("spec.pod.env[A]", "ConfigMap", "settings", "a")
WHOLE = Reference("spec.pod.volumes[v]", "ConfigMap", "settings")


@pytest.mark.parametrize(
    ("keys", "lacking"),
    [({"a"}, []), ({"b"}, [("spec.pod.env[A]", "a")]), (None, [("spec.pod.env[A]", ""), ("spec.pod.volumes[v]", "")])],
)
def test_an_object_is_missing_entirely_or_lacks_keys(keys: set[str] | None, lacking: list[tuple[str, str]]) -> None:
    assert [(each.field, each.key) for each in unmet_in([ENV, WHOLE], keys)] == lacking


def test_a_missing_key_is_reported_with_its_field_and_the_config_map() -> None:
    cause = main_cause(snapshot(deployments=(deployment(0),), unmet=(ENV.without_key(),)))
    assert cause
    assert (cause.reason, cause.final) == ("PodConfigError", True)
    assert cause.message == (
        "spec.pod.env[A] names the key a of ConfigMap settings, which doesn't exist in it: add the key, or correct its "
        "name"
    )


REGISTRY = Reference("spec.pod.imagePullSecrets[r]", "Secret", "r", is_needed=False).unmet()
IN_WORDS = "spec.pod.imagePullSecrets[r] names Secret r, which doesn't exist: create it, or correct the name"


def test_a_missing_secret_of_a_registry_is_a_remark_and_not_a_cause() -> None:
    assert main_cause(snapshot(deployments=(deployment(0),), unmet=(REGISTRY,))) is None
    assert [*remarks([REGISTRY, ENV.unmet()])] == [f"SecretMissing: {IN_WORDS}"]


def test_if_an_image_cannot_be_pulled_the_missing_secret_is_reported_with_it() -> None:
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "401 Unauthorized"}}
    refused = a_pod(containerStatuses=[container(state=waiting)])
    cause = main_cause(snapshot(refused, unmet=(REGISTRY,)))
    assert cause
    assert cause.reason == "ImagePullFailed"
    assert cause.message.endswith(f"401 Unauthorized; {IN_WORDS}")
