"""Compiled code from an image, in the operator's loop: mounted, given up, and pushed by a Job."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from slipway.api.model_key import ModelKey
from slipway.api.names import OWNER_LABEL
from slipway.contract.pod import PUSHED_START
from slipway.objects.kinds import (
    ACCELERATOR_PROFILE,
    CLUSTER_SERVING_RUNTIME,
    DEPLOYMENT,
    INFERENCE_SERVICE,
    JOB,
    LLM_DEPLOYMENT,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    Object,
)
from slipway.operator.installation import Installation
from slipway.operator.reconciling.image_volumes import FRESH
from slipway.operator.rendering.compile_job import is_job_name
from support.builders.inspections import failure
from support.builders.stored import LABELS, kube_object, llm
from support.programs.operator_loop import INSTALLATION, Loop, status

REPOSITORY = "registry.example.com/team/caches"
IMAGE = f"{REPOSITORY}@sha256:{'a' * 64}"
JOBS = Installation(INSTALLATION.namespace, INSTALLATION.activators, inspects=("*",))
CPU = {"vendor": "CPU", "resource": {"name": "cpu", "count": 1}, "memory": "64Gi"}
ARGS = ["serve", "vllm", "--model=/mnt/models", "--port=8080"]
RUNTIME = {
    "supportedModelFormats": [{"name": "huggingface"}],
    "containers": [{"name": "kserve-container", "image": "vllm:1", "args": ARGS}],
}
NOT_FOUND = f'Back-off pulling image "{IMAGE}": ErrImagePull: rpc error: code = NotFound desc = {IMAGE}: not found'


def model(**cache: Any) -> Object:
    return llm(
        engine={"name": "vllm", "contextLength": 2048, "maxConcurrency": 4, "compileCache": {"kind": "Image", **cache}},
        accelerator={"profiles": ["cpu"]},
        model={
            "uri": "pvc://models/llama",
            "facts": {"parameters": 1_000_000_000, "layers": 10, "kvHeads": 4, "headDim": 64},
        },
    )


def started(installation: Installation, **cache: Any) -> Loop:
    loop = Loop(installation=installation)
    loop.api.put(kube_object(ACCELERATOR_PROFILE, "cpu", spec=CPU))
    loop.api.put(kube_object(PERSISTENT_VOLUME_CLAIM, "models", status={"phase": "Bound"}))
    loop.api.put(kube_object(CLUSTER_SERVING_RUNTIME, "slipway-vllm-cpu", spec=RUNTIME))
    loop.api.put(model(**cache))
    return loop


@pytest.fixture
def named() -> Loop:
    """A model whose spec names an image."""
    return started(INSTALLATION, image=IMAGE)


@pytest.fixture
def filled() -> Loop:
    """A model whose spec names a repository, in an installation that may start Jobs."""
    return started(JOBS, repository=REPOSITORY, pushSecret="push")


def cache(loop: Loop) -> Object:
    found: Object = status(loop)["compileCache"]
    return found


def predictor(loop: Loop) -> Object:
    found: Object = loop.api.get(INFERENCE_SERVICE)["spec"]["predictor"]
    return found


def volume(loop: Loop) -> Object | None:
    return next((each for each in predictor(loop).get("volumes") or [] if each["name"] == "slipway-compiled"), None)


def reference(loop: Loop) -> str:
    """The image that is mounted."""
    found = volume(loop)
    return str(found["image"]["reference"]) if found else ""


def made_by_kserve(loop: Loop, replicas: int, **metadata: Any) -> None:
    """KServe's Deployment, as it makes it from the InferenceService."""
    service = loop.api.get(INFERENCE_SERVICE)
    spec = service["spec"]["predictor"]
    container = {
        "name": "kserve-container",
        "image": "vllm:1",
        "args": [*ARGS, *(spec["model"].get("args") or [])],
        "volumeMounts": spec["model"].get("volumeMounts") or [],
        "readinessProbe": {"httpGet": {"path": "/readyz"}},
    }
    template = {
        "metadata": {"annotations": spec["annotations"], "labels": {**LABELS, "app": "isvc.llama-predictor"}},
        "spec": {"containers": [container], "volumes": spec.get("volumes") or []},
    }
    owner = {"kind": "InferenceService", "uid": service["metadata"]["uid"], "controller": True}
    loop.api.put(
        kube_object(
            DEPLOYMENT,
            "llama-predictor",
            metadata={"labels": LABELS, "ownerReferences": [owner], **metadata},
            spec={"replicas": replicas, "template": template},
            status={"replicas": replicas},
        )
    )


async def asleep(loop: Loop) -> None:
    await loop.settle()
    made_by_kserve(loop, 0)
    await loop.settle()


def waiting_pod(loop: Loop, reason: str, message: str, *, age: float = 0) -> None:
    at = f"{loop.time - timedelta(seconds=age):%Y-%m-%dT%H:%M:%SZ}"
    container = {"name": "kserve-container", "state": {"waiting": {"reason": reason, "message": message}}}
    conditions = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": at}]
    loop.api.put(
        kube_object(
            POD,
            "llama-predictor-1",
            metadata={"labels": LABELS, "creationTimestamp": at},
            spec={"containers": [{"name": "kserve-container"}], "nodeName": "node-1"},
            status={"phase": "Pending", "conditions": conditions, "containerStatuses": [container]},
        )
    )


def jobs(loop: Loop) -> list[Object]:
    """Those that compile; others read the files of the model."""
    return [each for (kind, _, name), each in loop.api.objects.items() if kind == JOB and is_job_name(name, "llama")]


def the_job(loop: Loop) -> Object:
    [job] = jobs(loop)
    return job


def its_pod(loop: Loop, phase: str, state: Object) -> None:
    job = the_job(loop)
    owner = {"kind": "Job", "name": job["metadata"]["name"], "uid": job["metadata"]["uid"], "controller": True}
    container = {"name": "kserve-container", "restartCount": 0, "state": state}
    at = f"{loop.time:%Y-%m-%dT%H:%M:%SZ}"
    loop.api.put(
        kube_object(
            POD,
            f"{job['metadata']['name']}-x",
            metadata={"labels": {OWNER_LABEL: "llama.compile"}, "ownerReferences": [owner], "creationTimestamp": at},
            spec={"nodeName": "node-1", "containers": [{"name": "kserve-container"}]},
            status={"phase": phase, "containerStatuses": [container]},
        )
    )


def runs(loop: Loop) -> None:
    its_pod(loop, "Running", {"running": {}})


def ends(loop: Loop, message: str, *, code: int = 0) -> None:
    """The pod of the Job ends, and so does the Job."""
    at = f"{loop.time:%Y-%m-%dT%H:%M:%SZ}"
    ended = {"exitCode": code, "message": message, "reason": "Error" if code else "Completed", "finishedAt": at}
    its_pod(loop, "Failed" if code else "Succeeded", {"terminated": ended})
    condition = {"type": "Failed" if code else "Complete", "status": "True", "lastTransitionTime": at}
    loop.api.change(JOB, {"status": {"conditions": [condition]}}, name=the_job(loop)["metadata"]["name"])


def pushed(image: str = IMAGE) -> str:
    return PUSHED_START + json.dumps({"image": image, "key": "k", "bytes": 5 << 20})


# --- an image that the spec names ------------------------------------------------------------------------------------


async def test_it_is_mounted_read_only_where_the_store_is(named: Loop) -> None:
    await named.settle()
    assert volume(named) == {
        "name": "slipway-compiled",
        "image": {"reference": IMAGE, "pullPolicy": "IfNotPresent"},
    }
    model = predictor(named)["model"]
    assert model["args"][0] == "--cache=/var/cache/slipway-compiled"
    assert model["volumeMounts"][-1] == {
        "name": "slipway-compiled",
        "mountPath": "/var/cache/slipway-compiled",
        "readOnly": True,
    }
    assert (cache(named)["kind"], cache(named)["image"]) == ("Image", IMAGE)


async def test_a_steady_state_writes_nothing(named: Loop) -> None:
    await asleep(named)
    before = len(named.api.requests)
    await named.settle()
    assert [str(each) for each in named.api.requests[before:] if each.verb != "get"] == []


@pytest.mark.parametrize("code", [422, 400])
async def test_where_the_api_server_has_no_such_volumes_nothing_is_mounted(named: Loop, code: int) -> None:
    named.api.faults["create PodTemplate"] = (code, "must specify a volume type")
    await named.settle()
    assert volume(named) is None
    assert cache(named)["kind"] == "EmptyDir"
    assert "feature ImageVolume" in cache(named)["message"]


async def test_where_the_api_server_drops_the_field_nothing_is_mounted(named: Loop) -> None:
    """As one does that doesn't know it: the pod would get an empty folder instead."""

    async def without(*_: Any, **__: Any) -> Object:
        return {"template": {"spec": {"volumes": [{"name": "image", "emptyDir": {}}]}}}

    named.image_volumes._client.create = without  # type: ignore[method-assign]
    await named.settle()
    assert volume(named) is None


async def test_it_is_given_up_where_the_api_server_refuses_the_pods_because_of_it(named: Loop) -> None:
    """As after a restart without the feature: KServe can't make its Deployment, so that no pod says why."""
    await named.settle()
    assert volume(named)
    named.api.faults["create PodTemplate"] = (422, "must specify a volume type")
    named.pass_time(FRESH)
    await named.settle()
    assert volume(named) is None
    assert "feature ImageVolume" in cache(named)["message"]


async def test_pods_that_exist_keep_it_whatever_a_dry_run_says(named: Loop) -> None:
    await asleep(named)
    made_by_kserve(named, 1)
    waiting_pod(named, "ContainerCreating", "")
    named.api.faults["create PodTemplate"] = (422, "must specify a volume type")
    named.pass_time(FRESH)
    await named.settle()
    assert volume(named)


async def test_without_the_right_to_find_out_nothing_is_mounted(named: Loop) -> None:
    named.api.faults["create PodTemplate"] = (403, "forbidden")
    await named.settle()
    assert volume(named) is None
    assert "lacks the right to create PodTemplates" in cache(named)["message"]


async def test_a_change_of_the_spec_takes_effect_at_once(named: Loop) -> None:
    await named.settle()
    other = f"{REPOSITORY}@sha256:{'c' * 64}"
    named.api.change(LLM_DEPLOYMENT, {"spec": {"engine": {"compileCache": {"image": other}}}})
    await named.settle()
    assert cache(named)["image"] == other


# --- given up --------------------------------------------------------------------------------------------------------


async def waking(loop: Loop, reason: str, message: str, *, age: float = 0) -> None:
    await asleep(loop)
    made_by_kserve(loop, 1)
    waiting_pod(loop, reason, message, age=age)
    await loop.settle()


@pytest.mark.parametrize(
    ("reason", "message", "age"),
    [
        ("ImagePullBackOff", NOT_FOUND, 0),
        ("ErrImagePull", f"{IMAGE}: pull access denied, repository does not exist or may require authorization", 0),
        ("ErrImagePull", f'failed to do request: Head "{IMAGE}": dial tcp: connection refused', 61),
        ("CreateContainerError", 'failed to generate spec: failed to mkdir "": mkdir : no such file or directory', 0),
    ],
)
async def test_an_image_that_keeps_a_replica_from_running_is_given_up(
    named: Loop, reason: str, message: str, age: float
) -> None:
    await waking(named, reason, message, age=age)
    assert volume(named) is None
    assert predictor(named)["model"]["args"][0] != "--cache=/var/cache/slipway-compiled"
    assert predictor(named)["deploymentStrategy"] == {"type": "Recreate"}
    assert cache(named)["kind"] == "EmptyDir"
    assert cache(named)["givenUp"]["reason"] in ("ImagePullFailed", "ImageNotMounted")


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("ErrImagePull", f'failed to do request: Head "{IMAGE}": dial tcp: connection refused'),
        ("ContainerCreating", ""),
        ("ImagePullBackOff", 'Back-off pulling image "vllm:1": ErrImagePull: vllm:1: not found'),
    ],
)
async def test_it_is_kept_while_it_may_still_come_and_while_something_else_is_wrong(
    named: Loop, reason: str, message: str
) -> None:
    await waking(named, reason, message)
    assert volume(named)


async def another_is_ready(loop: Loop, version: str) -> None:
    """Two replicas of it: one waits for the image, another one of this version is ready."""
    await asleep(loop)
    made_by_kserve(loop, 2)
    waiting_pod(loop, "ImagePullBackOff", NOT_FOUND)
    waits = loop.api.get(POD, name="llama-predictor-1")
    labels = {**waits["metadata"]["labels"], "pod-template-hash": "new"}
    loop.api.put({**waits, "metadata": {**waits["metadata"], "labels": labels}})
    metadata = {"labels": {**labels, "pod-template-hash": version}}
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    loop.api.put(kube_object(POD, "llama-predictor-2", metadata=metadata, spec=waits["spec"], status=ready))
    await loop.settle()


async def test_replicas_that_are_ready_are_not_restarted_because_another_one_can_not_pull(named: Loop) -> None:
    await another_is_ready(named, "new")
    assert volume(named)
    assert "others are ready and keep it: the node can't pull the image" in cache(named)["message"]
    assert "givenUp" not in cache(named)
    named.delete(POD, name="llama-predictor-2")
    await named.settle()
    assert volume(named) is None


async def test_a_rollout_whose_replica_can_not_pull_goes_on_without_the_image(named: Loop) -> None:
    await another_is_ready(named, "old")
    assert volume(named) is None


async def test_it_is_tried_again_when_the_model_sleeps(named: Loop) -> None:
    await waking(named, "ImagePullBackOff", NOT_FOUND)
    named.delete(POD, name="llama-predictor-1")
    await asleep(named)
    assert volume(named)


async def test_an_image_that_never_comes_is_tried_less_and_less_often(named: Loop) -> None:
    for _ in range(2):
        await waking(named, "ImagePullBackOff", NOT_FOUND)
        named.delete(POD, name="llama-predictor-1")
    await asleep(named)
    assert volume(named) is None
    assert cache(named)["givenUp"]["tries"] == 2
    named.time += timedelta(hours=1)
    await named.settle()
    assert volume(named)


# --- pushed by a Job -------------------------------------------------------------------------------------------------


async def test_while_the_model_sleeps_a_job_compiles_and_pushes(filled: Loop) -> None:
    await asleep(filled)
    pod = the_job(filled)["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert container["args"][:4] == ["warm", "vllm", "--model=/mnt/models", "--port=8080"]
    assert f"--push={REPOSITORY}:llama-" in " ".join(container["args"])
    assert "--push-secret=/etc/slipway/push" in container["args"]
    assert "--host=127.0.0.1" in container["args"]
    assert {"name": "slipway-push", "secret": {"secretName": "push"}} in pod["volumes"]
    assert {"name": "slipway-compiled", "emptyDir": {}} in pod["volumes"]
    assert "readinessProbe" not in container
    assert pod["restartPolicy"] == "Never"
    assert "compiles and pushes it" in cache(filled)["message"]


async def test_its_pod_is_no_replica(filled: Loop) -> None:
    await asleep(filled)
    labels = the_job(filled)["spec"]["template"]["metadata"]["labels"]
    assert labels[OWNER_LABEL] == "llama.compile"
    assert "app" not in labels


async def test_the_engines_own_flags_stay_behind_ours(filled: Loop) -> None:
    await asleep(filled)
    arguments = the_job(filled)["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "--" in arguments
    assert arguments.index("--push-secret=/etc/slipway/push") < arguments.index("--")


async def test_what_it_has_pushed_is_mounted_at_the_next_wake(filled: Loop) -> None:
    await asleep(filled)
    ends(filled, pushed())
    await filled.settle()
    assert volume(filled) == {"name": "slipway-compiled", "image": {"reference": IMAGE, "pullPolicy": "IfNotPresent"}}
    assert cache(filled)["pushed"]["image"] == IMAGE
    assert cache(filled)["pushed"]["size"] == "5Mi"
    assert not jobs(filled), "it is stored, so that the Job isn't needed any more"


async def test_a_replica_that_runs_already_is_not_restarted_for_it(filled: Loop) -> None:
    await asleep(filled)
    ends(filled, pushed())
    made_by_kserve(filled, 1)
    waiting_pod(filled, "ContainerCreating", "")
    await filled.settle()
    assert volume(filled) is None
    assert "when the model sleeps" in cache(filled)["message"]
    filled.delete(POD, name="llama-predictor-1")
    await asleep(filled)
    assert volume(filled)


async def test_other_credentials_for_pushing_restart_no_replica(filled: Loop) -> None:
    await asleep(filled)
    ends(filled, pushed())
    made_by_kserve(filled, 1)
    waiting_pod(filled, "ContainerCreating", "")
    await filled.settle()
    before = filled.api.get(INFERENCE_SERVICE)["spec"]
    filled.api.change(LLM_DEPLOYMENT, {"spec": {"engine": {"compileCache": {"pushSecret": "rotated"}}}})
    await filled.settle()
    assert filled.api.get(INFERENCE_SERVICE)["spec"] == before


async def test_another_operator_needs_no_job_for_what_the_object_says(filled: Loop) -> None:
    await asleep(filled)
    ends(filled, pushed())
    await filled.settle()
    filled.take_over()
    made_by_kserve(filled, 0)
    await filled.settle()
    assert not jobs(filled)
    assert volume(filled)


async def test_pods_that_change_keep_the_image_until_another_is_pushed(filled: Loop) -> None:
    """Most changes need no other code: labels, Secrets, names. The runtime finds out by the key."""
    await asleep(filled)
    ends(filled, pushed())
    await filled.settle()
    filled.api.change(LLM_DEPLOYMENT, {"spec": {"engine": {"contextLength": 4096}}, "metadata": {"generation": 2}})
    await asleep(filled)
    assert reference(filled) == IMAGE
    assert "made for pods as they were before; none was pushed yet" in cache(filled)["message"]
    assert "compiles and pushes it" in cache(filled)["message"]
    another = f"{REPOSITORY}@sha256:{'b' * 64}"
    ends(filled, pushed(another))
    await filled.settle()
    assert reference(filled) == another
    assert "before" not in cache(filled)["message"]
    assert not jobs(filled)


async def test_pods_that_change_keep_the_image_while_no_other_can_be_pushed(filled: Loop) -> None:
    await asleep(filled)
    ends(filled, pushed())
    await filled.settle()
    filled.api.change(LLM_DEPLOYMENT, {"spec": {"engine": {"contextLength": 4096}}, "metadata": {"generation": 2}})
    await asleep(filled)
    ends(filled, failure("PushFailed", "The registry refuses the credentials (HTTP 401)."), code=60)
    await filled.settle()
    assert reference(filled) == IMAGE
    assert cache(filled)["pushed"]["image"] == IMAGE
    assert "HTTP 401" in cache(filled)["message"]


async def test_an_image_of_another_repository_is_not_kept(filled: Loop) -> None:
    await asleep(filled)
    ends(filled, pushed())
    await filled.settle()
    there = {"engine": {"compileCache": {"repository": "registry.example.com/other"}}}
    filled.api.change(LLM_DEPLOYMENT, {"spec": there, "metadata": {"generation": 2}})
    await asleep(filled)
    assert volume(filled) is None


async def test_it_gives_way_to_a_replica_and_is_started_again_when_the_model_sleeps(filled: Loop) -> None:
    await asleep(filled)
    first = the_job(filled)["metadata"]["uid"]
    made_by_kserve(filled, 1)
    await filled.settle()
    assert not jobs(filled)
    assert "when the model sleeps the next time" in cache(filled)["message"]
    await asleep(filled)
    assert the_job(filled)["metadata"]["uid"] != first
    assert "pushFailure" not in cache(filled)


async def test_without_a_plan_it_does_not_go_on(filled: Loop) -> None:
    """It would hold an accelerator that the model may have no right to any more."""
    await asleep(filled)
    runs(filled)
    filled.delete(ACCELERATOR_PROFILE, namespace="", name="cpu")
    await filled.settle()
    assert not jobs(filled)
    assert not filled.pusher._pushed_by["chat"]


async def test_until_it_is_gone_it_counts_for_its_namespace(filled: Loop) -> None:
    await asleep(filled)
    runs(filled)
    filled.api.faults["delete Job"] = (409, "it has changed meanwhile")
    filled.delete(ACCELERATOR_PROFILE, namespace="", name="cpu")
    await filled.settle()
    assert filled.pusher._pushed_by["chat"]
    filled.api.faults.clear()
    await filled.settle()
    assert not jobs(filled)


async def test_without_a_plan_what_it_has_pushed_is_not_lost(filled: Loop) -> None:
    await asleep(filled)
    profile = filled.api.get(ACCELERATOR_PROFILE, namespace="", name="cpu")
    ends(filled, pushed())
    filled.delete(ACCELERATOR_PROFILE, namespace="", name="cpu")
    await filled.settle()
    filled.api.put(profile)
    await filled.settle()
    assert cache(filled)["pushed"]["image"] == IMAGE


async def test_while_a_replica_runs_none_is_started(filled: Loop) -> None:
    await filled.settle()
    made_by_kserve(filled, 1)
    await filled.settle()
    assert not jobs(filled)


async def test_where_the_chart_allows_no_jobs_the_status_says_how_to_allow_them() -> None:
    loop = started(INSTALLATION, repository=REPOSITORY)
    await asleep(loop)
    assert not jobs(loop)
    assert "planner.inspection.namespaces" in cache(loop)["message"]


async def test_where_pods_can_not_mount_images_none_is_pushed(filled: Loop) -> None:
    filled.api.faults["create PodTemplate"] = (422, "must specify a volume type")
    await asleep(filled)
    assert not jobs(filled)


async def test_a_failure_is_reported_and_tried_again_later(filled: Loop) -> None:
    await asleep(filled)
    ends(filled, failure("PushFailed", "The registry refuses the credentials (HTTP 401)."), code=60)
    await filled.settle()
    assert cache(filled)["pushFailure"]["reason"] == "PushFailed"
    assert "failed once, and is tried again at" in cache(filled)["message"]
    assert "HTTP 401" in cache(filled)["message"]
    failed = the_job(filled)["metadata"]["name"]  # whose log may help
    filled.time += timedelta(minutes=5)
    await filled.settle()
    assert the_job(filled)["metadata"]["name"] != failed


@pytest.mark.parametrize(
    "message",
    [
        pushed(f"registry.evil.com/x@sha256:{'a' * 64}"),
        pushed(f"{REPOSITORY}:latest"),
        pushed(f"{REPOSITORY}@sha256:{'A' * 64}"),
        pushed(f"{REPOSITORY}-other@sha256:{'a' * 64}"),
        f"{PUSHED_START}[]",
        f"{PUSHED_START}{'[' * 4000}",
        "",
        "slipway-report-1:x",
    ],
)
async def test_a_report_of_anything_else_is_never_mounted(filled: Loop, message: str) -> None:
    await asleep(filled)
    ends(filled, message)
    await filled.settle()
    assert volume(filled) is None
    assert cache(filled)["pushFailure"]["reason"] == "Unknown"


async def test_a_status_that_others_have_written_mounts_nothing_from_elsewhere(filled: Loop) -> None:
    await asleep(filled)
    ends(filled, pushed())
    await filled.settle()
    foreign = f"registry.evil.com/x@sha256:{'b' * 64}"
    filled.api.change(LLM_DEPLOYMENT, {"status": {"compileCache": {"pushed": {"image": foreign}}}})
    await filled.settle()
    assert volume(filled) is None


async def test_a_job_of_a_tenant_is_not_taken_for_ours(filled: Loop) -> None:
    await asleep(filled)
    job = the_job(filled)
    job["metadata"]["ownerReferences"][0]["uid"] = "another"
    filled.api.put(job)
    filled.take_over()
    ends(filled, pushed())
    await filled.settle()
    assert volume(filled) is None
    assert cache(filled)["pushFailure"]["reason"] == "NameTaken"


async def test_a_deployment_that_is_not_kserves_gives_no_template(filled: Loop) -> None:
    await filled.settle()
    made_by_kserve(filled, 0, ownerReferences=[{"kind": "InferenceService", "uid": "another", "controller": True}])
    await filled.settle()
    assert not jobs(filled)


async def test_a_template_that_kserve_has_yet_to_change_is_not_used(filled: Loop) -> None:
    await filled.settle()
    made_by_kserve(filled, 0)
    found = filled.api.get(DEPLOYMENT, name="llama-predictor")
    found["spec"]["template"]["spec"]["containers"][0]["args"] = ARGS
    filled.api.put(found)
    await filled.settle()
    assert not jobs(filled)


async def test_a_job_that_is_refused_is_a_failure_like_others(filled: Loop) -> None:
    filled.api.faults["create Job"] = (403, 'jobs.batch "x" is forbidden: exceeded quota: q')
    await asleep(filled)
    assert cache(filled)["pushFailure"]["reason"] == "QuotaExceeded"
    assert status(filled)["state"] == "Idle"


async def test_another_kind_removes_the_job_and_what_was_remembered(filled: Loop) -> None:
    await asleep(filled)
    changed = model()["spec"]
    changed["engine"]["compileCache"] = {"kind": "None"}
    filled.api.put({**filled.api.get(LLM_DEPLOYMENT), "spec": changed})
    await filled.settle()
    assert not jobs(filled)
    assert "pushed" not in cache(filled)


async def test_of_a_namespace_two_compile_at_a_time(filled: Loop) -> None:
    others = filled.pusher._pushed_by.setdefault("chat", set())
    others |= {ModelKey("chat", "one"), ModelKey("chat", "two")}
    await asleep(filled)
    assert not jobs(filled)
    filled.pusher.forget(ModelKey("chat", "one"))
    await filled.settle()
    assert len(jobs(filled)) == 1


async def test_events_are_read_only_until_its_pod_has_started(filled: Loop) -> None:
    await asleep(filled)
    created = {"metadata": {"creationTimestamp": f"{filled.time:%Y-%m-%dT%H:%M:%SZ}"}}
    filled.api.change(JOB, created, name=the_job(filled)["metadata"]["name"])
    filled.time += timedelta(seconds=20)
    before = len(filled.api.requests)
    await filled.reconcile()
    assert "list Event" in [str(each) for each in filled.api.requests[before:]]
    runs(filled)
    before = len(filled.api.requests)
    await filled.reconcile()
    assert "list Event" not in [str(each) for each in filled.api.requests[before:]]
