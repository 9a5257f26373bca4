"""What a spec names: found in every field that can name something, and told by its field when it isn't there."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.api.llmdeployment import LLMDeploymentSpec
from slipway.observing.causes import cause_in
from slipway.observing.references import Reference, lack_of_claim, references_of
from slipway.observing.world import Lack

from .cluster_objects import deployment, world

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
    (env("configMapKeyRef"), "spec.pod.env[A]", "ConfigMap"),
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
    pod(imagePullSecrets=[{"name": "named"}]),
    pod(serviceAccountName="default"),
    pod(priorityClassName="system-cluster-critical"),
    {"model": {"uri": "oci://r/m@sha256:0", "credentialsSecret": "named"}},
]


@pytest.mark.parametrize(("spec", "field", "kind"), NAMED, ids=[f"{field} {kind}" for _, field, kind in NAMED])
def test_a_thing_is_found_where_the_spec_names_it(spec: dict[str, Any], field: str, kind: str) -> None:
    assert references_of(LLMDeploymentSpec.model_validate(spec)) == (Reference(field, kind, "named"),)


@pytest.mark.parametrize("spec", NOT_NEEDED)
def test_what_a_pod_can_do_without_is_not_looked_for(spec: dict[str, Any]) -> None:
    assert references_of(LLMDeploymentSpec.model_validate(spec)) == ()


def test_what_is_named_twice_is_looked_for_once() -> None:
    spec = {"model": {"uri": "pvc://named/a"}, "engine": {"adapters": [{"name": "b", "uri": "pvc://named/b"}]}}
    assert [each.field for each in references_of(LLMDeploymentSpec.model_validate(spec))] == ["spec.model.uri"]


# --- claims ----------------------------------------------------------------------------------------------------------

URI = Reference("spec.model.uri", "PersistentVolumeClaim", "weights")


@pytest.mark.parametrize("phase", ["Bound", "Pending", ""])
def test_a_claim_that_waits_for_its_first_pod_lacks_nothing(phase: str) -> None:
    assert lack_of_claim(URI, {"status": {"phase": phase}}) is None


def test_a_claim_whose_volume_is_gone_is_told() -> None:
    lack = lack_of_claim(URI, {"status": {"phase": "Lost"}})
    assert lack
    cause = cause_in(world(deployments=(deployment(0),), lacks=(lack,)))
    assert cause
    assert (cause.reason, cause.final) == ("VolumeNotReady", True)
    assert cause.message.startswith("spec.model.uri names PersistentVolumeClaim weights, whose volume is gone")


def test_what_isn_t_there_is_told_with_its_field_its_name_and_the_remedy() -> None:
    cause = cause_in(world(deployments=(deployment(0),), lacks=(Lack(field="f", kind="Secret", name="s"),)))
    assert cause
    assert (cause.reason, cause.final) == ("PodConfigError", True)
    assert cause.message == "f names Secret s, which isn't there: make it, or correct the name"
