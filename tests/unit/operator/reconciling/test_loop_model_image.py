"""Models' files in an image: a Job pushes it, and the next pods that are made mount it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from slipway.api.model_key import ModelKey
from slipway.api.names import OWNER_LABEL, label_of_imaging
from slipway.contract.pod import PUSHED_START
from slipway.objects.kinds import INFERENCE_SERVICE, JOB, LLM_DEPLOYMENT, POD, SERVICE_ACCOUNT, Object
from slipway.operator.installation import Fetcher, Installation
from slipway.operator.rendering.image_job import is_job_name
from support.builders.inspections import failure
from support.builders.llmdeployments import merged
from support.builders.stored import kube_object
from support.fakes.api_server import KEY
from support.programs.compile_claim_loop import asleep, put_what_it_needs, scale, vllm
from support.programs.compile_image_loop import waiting_pod
from support.programs.operator_loop import INSTALLATION, Loop, status

REPOSITORY = "registry.example.com/team/models"
IMAGE = f"{REPOSITORY}@sha256:{'a' * 64}"
FETCHING = replace(INSTALLATION, fetcher=Fetcher("registry.example.com/fetcher:1"), inspects=("*",))
NOT_FOUND = f'Back-off pulling image "{IMAGE}": ErrImagePull: rpc error: code = NotFound desc = {IMAGE}: not found'


def model() -> Object:
    uri = {"uri": "s3://models/llama", "cache": {"kind": "Image", "repository": REPOSITORY, "pushSecret": "push"}}
    return merged(vllm(compileCache={"kind": "None"}), {"spec": {"model": uri}})


def loop_with(installation: Installation = FETCHING) -> Loop:
    loop = Loop(installation=installation)
    put_what_it_needs(loop)
    loop.api.put(model())
    return loop


@pytest.fixture
def loop() -> Loop:
    return loop_with()


def jobs(loop: Loop) -> list[Object]:
    found = (each for (kind, namespace, _), each in loop.api.objects.items() if (kind, namespace) == (JOB, KEY[0]))
    return [each for each in found if is_job_name(each["metadata"]["name"], KEY[1])]


def cache(loop: Loop) -> Object:
    found: Object = status(loop)["modelCache"]
    return found


def mounted(loop: Loop) -> Object:
    """What the volume of the files is."""
    volumes = loop.api.get(INFERENCE_SERVICE)["spec"]["predictor"]["volumes"]
    return next(each for each in volumes if each["name"] == "slipway-weights")


def reported(loop: Loop, *, image: str = IMAGE, code: int = 0, message: str = "") -> None:
    """The Job's pod has ended."""
    [job] = jobs(loop)
    report = message or f"{PUSHED_START}{json.dumps({'image': image, 'bytes': 5 << 20})}"
    ended = {"exitCode": code, "message": report, "finishedAt": "2026-11-30T10:00:00Z"}
    owner = {"kind": "Job", "name": job["metadata"]["name"], "uid": job["metadata"]["uid"], "controller": True}
    loop.api.put(
        kube_object(
            POD,
            f"{job['metadata']['name']}-x",
            metadata={"labels": {OWNER_LABEL: label_of_imaging(KEY[1])}, "ownerReferences": [owner]},
            spec={"containers": [{"name": "push"}]},
            status={
                "phase": "Failed" if code else "Succeeded",
                "containerStatuses": [{"name": "push", "state": {"terminated": ended}, "restartCount": 0}],
            },
        )
    )
    kind = "Failed" if code else "Complete"
    loop.api.change(JOB, {"status": {"conditions": [{"type": kind, "status": "True"}]}}, name=job["metadata"]["name"])


async def test_the_job_starts_with_the_object_and_needs_no_accelerator(loop: Loop) -> None:
    await loop.settle()
    [job] = jobs(loop)
    pod = job["spec"]["template"]["spec"]
    assert [each["name"] for each in pod["initContainers"]] == ["check-registry", "storage-initializer"]
    assert not [each for each in pod["containers"] if "nvidia.com/gpu" in str(each["resources"])]
    assert pod["serviceAccountName"] == "slipway-inspect"
    assert loop.api.objects[(SERVICE_ACCOUNT, KEY[0], "slipway-inspect")]
    assert f"Job {job['metadata']['name']} fetches the model's files and pushes it" in cache(loop)["message"]


async def test_it_fetches_what_the_pods_fetch_and_pushes_all_of_it(loop: Loop) -> None:
    await loop.settle()
    [job] = jobs(loop)
    pod = job["spec"]["template"]["spec"]
    [container] = loop.api.get(INFERENCE_SERVICE)["spec"]["predictor"]["initContainers"]
    assert pod["initContainers"][1] == container
    [push] = pod["containers"]
    assert push["args"][0].startswith(f"{REPOSITORY}:{KEY[1]}-")
    assert push["args"][1:] == ["/mnt/weights", "--volume", "--credentials=/etc/slipway/push"]


async def test_until_there_is_an_image_pods_fetch_the_files_themselves(loop: Loop) -> None:
    await asleep(loop)
    assert mounted(loop) == {"name": "slipway-weights", "emptyDir": {}}
    assert cache(loop)["kind"] == "None"


async def test_a_model_that_sleeps_mounts_the_image_once_it_is_pushed(loop: Loop) -> None:
    await asleep(loop)
    reported(loop)
    await loop.settle()
    assert mounted(loop)["image"] == {"reference": IMAGE, "pullPolicy": "IfNotPresent"}
    assert cache(loop)["kind"] == "Image"
    assert cache(loop)["pushed"]["image"] == IMAGE
    assert cache(loop)["pushed"]["size"] == "5Mi"
    assert not jobs(loop)


async def test_pods_that_run_keep_what_they_have(loop: Loop) -> None:
    await asleep(loop)
    scale(loop, 1)
    waiting_pod(loop, "PodInitializing", "")
    reported(loop)
    await loop.settle()
    assert "emptyDir" in mounted(loop)
    assert "It is when the model sleeps" in cache(loop)["message"]
    loop.delete(POD, name="llama-predictor-1")
    scale(loop, 0)
    await loop.settle()
    assert mounted(loop)["image"]["reference"] == IMAGE


async def test_only_an_image_of_the_repository_is_believed(loop: Loop) -> None:
    await asleep(loop)
    reported(loop, image=f"registry.example.com/others/models@sha256:{'a' * 64}")
    await loop.settle()
    assert "emptyDir" in mounted(loop)
    assert "has not reported an image of the repository" in cache(loop)["pushFailure"]["message"]


async def test_a_job_that_fails_says_why_and_is_tried_again(loop: Loop) -> None:
    await asleep(loop)
    [before] = jobs(loop)
    reported(loop, code=60, message=failure("PushFailed", "The registry has no room (HTTP 507)."))
    await loop.settle()
    assert cache(loop)["pushFailure"]["reason"] == "PushFailed"
    assert "has failed once, and is tried again at" in cache(loop)["message"]
    assert "no room" in cache(loop)["message"]
    assert "emptyDir" in mounted(loop)
    loop.time += timedelta(seconds=301)
    await loop.settle()
    [job] = jobs(loop)
    assert job["metadata"]["name"] != before["metadata"]["name"]


async def test_other_files_need_another_image(loop: Loop) -> None:
    await asleep(loop)
    reported(loop)
    await loop.settle()
    spec = loop.api.get(LLM_DEPLOYMENT)["spec"]
    loop.api.put({**loop.api.get(LLM_DEPLOYMENT), "spec": {**spec, "model": {**spec["model"], "files": ["*.gguf"]}}})
    await loop.settle()
    assert "emptyDir" in mounted(loop)
    assert len(jobs(loop)) == 1


async def test_an_image_that_the_registry_has_lost_is_given_up_and_pushed_again(loop: Loop) -> None:
    await asleep(loop)
    reported(loop)
    await loop.settle()
    scale(loop, 1)
    waiting_pod(loop, "ImagePullBackOff", NOT_FOUND)
    await loop.settle()
    assert cache(loop)["givenUp"]["reason"] == "ImageGone"
    assert "emptyDir" in mounted(loop)
    assert len(jobs(loop)) == 1


async def test_where_no_jobs_are_allowed_the_status_says_what_would_change_it() -> None:
    loop = loop_with(replace(FETCHING, inspects=()))
    await loop.settle()
    assert not jobs(loop)
    assert "add chat to planner.inspection.namespaces" in cache(loop)["message"]


async def test_where_pods_can_not_mount_images_no_job_runs_and_the_status_says_why(loop: Loop) -> None:
    loop.api.faults["create PodTemplate"] = (422, "must specify a volume type")
    await loop.settle()
    assert not jobs(loop)
    assert "no volumes of images" in cache(loop)["message"]


async def test_another_kind_removes_the_job(loop: Loop) -> None:
    await loop.settle()
    spec = loop.api.get(LLM_DEPLOYMENT)["spec"]
    loop.api.put(
        {**loop.api.get(LLM_DEPLOYMENT), "spec": {**spec, "model": {**spec["model"], "cache": {"kind": "None"}}}}
    )
    await loop.settle()
    assert not jobs(loop)


async def test_of_a_namespace_two_run_at_a_time(loop: Loop) -> None:
    for name in ("one", "two"):
        loop.image_maker.places.take(ModelKey(KEY[0], name))
    await loop.settle()
    assert not jobs(loop)
    loop.image_maker.forget(ModelKey(KEY[0], "one"))
    await loop.settle()
    assert len(jobs(loop)) == 1
