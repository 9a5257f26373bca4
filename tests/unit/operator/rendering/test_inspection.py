"""The Job that reads a model's files: it is no replica, may do nothing else, and is the same for the same try."""

from __future__ import annotations

import re
from typing import Any

import pytest
from slipway.api.names import MAX_NAME_LENGTH, OWNER_LABEL
from slipway.objects.kinds import Object
from slipway.observing.inspection_record import source_of
from slipway.operator.rendering.inspection import can_be_read, claim_with_files, inspection_job, job_name
from support.builders.inspections import runtime
from support.builders.rendering import deployment
from support.builders.sdk_fields import unknown_fields

MODEL: dict[str, Any] = {"model": {"uri": "pvc://models/llama/8b"}}


def rendered(*, node: str | None = None, image: Object | None = None, **spec: Any) -> Object:
    return inspection_job(deployment(**(MODEL | spec)), image or runtime(), name="job", node=node).manifest


def pod_of(job: Object) -> Object:
    found: Object = job["spec"]["template"]["spec"]
    return found


def test_kubernetes_knows_every_field_of_it() -> None:
    pod = {
        "queueName": "q",
        "tolerations": [{"key": "k"}],
        "nodeSelector": {"a": "b"},
        "imagePullSecrets": [{"name": "x"}],
    }
    for job in (rendered(pod=pod), rendered(node="node-1")):
        assert unknown_fields(job, "V1Job") == []


def test_it_belongs_to_its_model_and_its_pod_is_not_taken_for_a_replica() -> None:
    job = rendered(
        pod={"labels": {"app": "x", "team": "ml"}, "annotations": {"vault.hashicorp.com/agent-inject": "true"}}
    )
    assert job["metadata"]["labels"][OWNER_LABEL] == "llama"
    assert job["metadata"]["ownerReferences"][0]["uid"] == "4711"
    template = job["spec"]["template"]["metadata"]
    assert template["labels"][OWNER_LABEL] == "llama.inspect"
    assert not {"tier", "team", "vault.hashicorp.com/agent-inject"} & {*template["labels"], *template["annotations"]}


def test_it_may_do_nothing_but_read_the_model() -> None:
    hostile = {"runAsUser": 5000, "runAsGroup": 5000, "privileged": True, "capabilities": {"add": ["SYS_ADMIN"]}}
    pod = pod_of(rendered(image=runtime(securityContext=hostile)))
    assert pod["automountServiceAccountToken"] is False
    assert pod["serviceAccountName"] == "slipway-inspect"
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    [container] = pod["containers"]
    assert container["securityContext"] == {
        "runAsUser": 5000,
        "runAsGroup": 5000,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["volumeMounts"] == [{"name": "model", "mountPath": "/mnt/models", "readOnly": True}]
    assert not {"env", "envFrom", "command", "ports"} & container.keys()
    assert container["resources"]["limits"].keys() == {"cpu", "memory"}


def test_it_ends_whatever_happens_and_has_no_second_try_of_its_own() -> None:
    spec = rendered()["spec"]
    assert (spec["backoffLimit"], pod_of(rendered())["restartPolicy"]) == (0, "Never")
    assert spec["activeDeadlineSeconds"] == 900
    assert spec["ttlSecondsAfterFinished"] == 3600


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("pvc://models", "/mnt/models"),
        ("pvc://models/", "/mnt/models"),
        ("pvc://models/llama/8b", "/mnt/models/llama/8b"),
        ("pvc://models/--report=x", "/mnt/models/--report=x"),
    ],
)
def test_the_whole_volume_is_mounted_because_a_missing_sub_path_would_be_created(uri: str, path: str) -> None:
    pod = pod_of(rendered(model={"uri": uri}))
    assert pod["volumes"] == [{"name": "model", "persistentVolumeClaim": {"claimName": "models"}}]
    assert pod["containers"][0]["args"] == ["inspect", path, "--report=/dev/termination-log"]


def test_the_image_and_its_pull_secrets_are_those_of_the_runtime_and_of_the_spec() -> None:
    image = runtime()
    image["spec"]["imagePullSecrets"] = [{"name": "mirror"}]
    pod = pod_of(rendered(image=image, pod={"imagePullSecrets": [{"name": "own"}]}))
    assert pod["containers"][0]["image"] == "localhost/slipway-llamacpp:1"
    assert pod["imagePullSecrets"] == [{"name": "mirror"}, {"name": "own"}]


def test_it_runs_where_the_spec_allows_it_or_next_to_a_replica() -> None:
    place = {"nodeSelector": {"disk": "ssd"}, "tolerations": [{"key": "k", "operator": "Exists"}]}
    free = pod_of(rendered(pod=place))
    assert (free["nodeSelector"], free["tolerations"]) == (place["nodeSelector"], place["tolerations"])
    pinned = pod_of(rendered(pod=place, node="node-1"))
    [term] = pinned["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term == {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]}
    assert "nodeSelector" not in pinned


def test_a_queue_counts_it_like_the_replicas() -> None:
    assert rendered(pod={"queueName": "ml"})["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "ml"


def test_its_name_is_the_same_for_the_same_try_and_another_for_everything_else() -> None:
    models = {
        "the first": deployment(**MODEL),
        "another source": deployment(model={"uri": "pvc://models/b"}),
        "read again": deployment(annotations={"slipway.dev/sync": "2"}, **MODEL),
    }
    names = {what: job_name(model, source_of(model), 1) for what, model in models.items()}
    first = models["the first"]
    names["the second try"] = job_name(first, source_of(first), 2)
    assert len({*names.values()}) == len(names)
    assert job_name(first, source_of(first), 1) == names["the first"]


@pytest.mark.parametrize("name", ["a", "a" * MAX_NAME_LENGTH])
def test_its_name_and_the_label_of_its_pods_are_valid_for_every_model(name: str) -> None:
    model = deployment(name, **MODEL)
    found = job_name(model, source_of(model), 1)
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])", found)
    label = inspection_job(model, runtime(), name=found).manifest["spec"]["template"]["metadata"]["labels"][OWNER_LABEL]
    assert len(label) <= 63


@pytest.mark.parametrize(
    ("uri", "readable", "claim"),
    [("pvc://a/b", True, "a"), ("hf://a/b", False, None), ("s3://a/b", False, None), ("", False, None)],
)
def test_which_sources_a_job_can_read(uri: str, readable: bool, claim: str | None) -> None:
    assert (can_be_read(uri), claim_with_files(uri)) == (readable, claim)
