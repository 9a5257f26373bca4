"""The Job that makes an image of a model's files: what it may do, where it runs, and where its files are meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
from slipway.api.names import OWNER_LABEL, is_label_of_job, model_of_label
from slipway.objects.kinds import Object
from slipway.operator.installation import Fetcher
from slipway.operator.rendering.image_job import NAMES, identity_of, image_job, is_job_name, job_name
from slipway.operator.rendering.weights import with_fetched
from support.builders.rendering import deployment

FETCHER = Fetcher("registry.example.com/fetcher:1", "Always", ("pull-fetcher",))
MODEL = {"uri": "s3://models/llama", "credentialsSecret": "keys"}
CACHE = {"kind": "Image", "repository": "registry.example.com/team/models", "pushSecret": "push"}


def served(**spec: Any) -> Any:
    model = {**MODEL, **spec.pop("model", {})}
    return deployment(**{**spec, "model": {**model, "cache": {**CACHE, **model.get("cache", {})}}})


def service(thing: Any) -> Object:
    return {"spec": {"predictor": with_fetched({"model": {}}, thing.spec, FETCHER)}}


def pod(**spec: Any) -> Object:
    thing = served(**spec)
    found: Object = image_job(thing, service(thing), FETCHER, name="job", identity="0").manifest["spec"]["template"]
    return found


def test_it_may_do_nothing_in_the_cluster_and_complies_with_the_restricted_standard() -> None:
    found = pod()["spec"]
    assert found["automountServiceAccountToken"] is False
    assert found["serviceAccountName"] == "slipway-inspect"
    assert found["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    for container in (*found["initContainers"], *found["containers"]):
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["allowPrivilegeEscalation"] is False


def test_a_model_with_a_service_account_of_its_own_is_fetched_by_it_without_its_token() -> None:
    found = pod(pod={"serviceAccountName": "reader"})["spec"]
    assert found["serviceAccountName"] == "reader"
    assert found["automountServiceAccountToken"] is False


def test_the_registrys_password_and_the_sources_are_in_different_containers() -> None:
    found = pod()["spec"]
    mounts = {
        each["name"]: {mount["name"] for mount in each["volumeMounts"]}
        for each in (*found["initContainers"], *found["containers"])
    }
    assert mounts == {
        "check-registry": {"slipway-weights", "slipway-push"},
        "storage-initializer": {"slipway-weights", "slipway-credentials"},
        "push": {"slipway-weights", "slipway-push"},
    }


def test_its_pod_is_not_taken_for_a_replica() -> None:
    label = pod()["metadata"]["labels"][OWNER_LABEL]
    assert label != served().metadata.name
    assert is_label_of_job(label)
    assert model_of_label(label) == served().metadata.name


def test_it_runs_where_the_spec_allows() -> None:
    toleration = {"key": "spot", "operator": "Exists"}
    found = pod(pod={"nodeSelector": {"pool": "a"}, "tolerations": [toleration]})["spec"]
    assert (found["nodeSelector"], found["tolerations"]) == ({"pool": "a"}, [toleration])
    assert found["imagePullSecrets"] == [{"name": "pull-fetcher"}]


@pytest.mark.parametrize(
    ("cache", "volume"),
    [
        ({}, {"emptyDir": {}}),
        ({"size": "40Gi"}, {"storage": "40Gi"}),
        ({"size": "40Gi", "storageClassName": "fast"}, {"storage": "40Gi", "class": "fast"}),
    ],
)
def test_its_files_are_on_the_nodes_disk_or_on_a_volume_of_the_given_size(cache: Object, volume: Object) -> None:
    found = pod(model={"cache": cache})["spec"]
    [room] = [each for each in found["volumes"] if each["name"] == "slipway-weights"]
    if "emptyDir" in volume:
        assert room == {"name": "slipway-weights", **volume}
        return
    claim = room["ephemeral"]["volumeClaimTemplate"]["spec"]
    assert claim["resources"]["requests"]["storage"] == volume["storage"]
    assert claim.get("storageClassName") == volume.get("class")
    assert found["securityContext"]["fsGroup"] == 65532


def test_an_image_is_for_the_folders_that_the_pods_look_for() -> None:
    one, same, other = served(), served(pod={"env": [{"name": "A", "value": "b"}]}), served(model={"uri": "s3://m/b"})
    identities = [identity_of(each, service(each)) for each in (one, same, other)]
    assert identities[0] == identities[1] != identities[2]
    assert identity_of(one, {"spec": {"predictor": {"model": {}}}}) == ""


def test_a_name_is_one_of_its_model_alone() -> None:
    thing = served()
    name = job_name(thing, "0123", 1)
    assert is_job_name(name, thing.metadata.name)
    assert not is_job_name(name, "another")
    assert len(f"{'m' * NAMES.longest_of_model}-image-01234567") <= 63
