"""Compiled code from an image, in the operator's loop: a Job compiles and pushes it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from slipway.api.model_key import ModelKey
from slipway.api.names import OWNER_LABEL
from slipway.contract.pod import PUSHED_START
from slipway.objects.kinds import (
    ACCELERATOR_PROFILE,
    DEPLOYMENT,
    INFERENCE_SERVICE,
    JOB,
    LLM_DEPLOYMENT,
    POD,
)
from support.builders.inspections import failure
from support.programs.compile_image_loop import (
    ARGS,
    IMAGE,
    NOT_FOUND,
    REPOSITORY,
    asleep,
    cache,
    ends,
    jobs,
    made_by_kserve,
    model,
    pushed,
    reference,
    runs,
    started,
    the_job,
    volume,
    waiting_pod,
)
from support.programs.operator_loop import INSTALLATION, Loop, status

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


async def gone(loop: Loop) -> None:
    """A replica was woken, and the registry doesn't have its image any more; then the model sleeps again."""
    made_by_kserve(loop, 1)
    waiting_pod(loop, "ImagePullBackOff", NOT_FOUND)
    await loop.settle()
    loop.delete(POD, name="llama-predictor-1")
    await asleep(loop)


async def test_an_image_that_was_removed_from_the_registry_is_pushed_again(filled: Loop) -> None:
    await asleep(filled)
    ends(filled, pushed())
    await filled.settle()
    await gone(filled)
    assert cache(filled)["givenUp"]["reason"] == "ImageGone"
    filled.time += timedelta(seconds=60)
    ends(filled, pushed())
    await filled.settle()
    assert not jobs(filled), "what it has pushed is stored, though it is the same image"
    filled.time += timedelta(hours=12)
    await filled.settle()
    assert not jobs(filled)
    assert reference(filled) == IMAGE


async def test_where_it_is_still_missing_after_that_a_compilation_is_not_repeated_at_each_sleep(filled: Loop) -> None:
    await asleep(filled)
    for _ in range(2):
        ends(filled, pushed())
        await filled.settle()
        filled.time += timedelta(seconds=60)
        await gone(filled)
    assert not jobs(filled)
    assert "A Job pushes it again when the model sleeps after" in cache(filled)["message"]
    filled.time += timedelta(hours=1)
    await filled.settle()
    assert jobs(filled)


@pytest.mark.parametrize("why", ["unauthorized: authentication required, or not found", "dial tcp: connection refused"])
async def test_an_image_that_may_be_there_is_not_pushed_again(filled: Loop, why: str) -> None:
    await asleep(filled)
    ends(filled, pushed())
    await filled.settle()
    made_by_kserve(filled, 1)
    waiting_pod(filled, "ErrImagePull", f"{IMAGE}: {why}")
    await filled.settle()
    filled.time += timedelta(seconds=61)
    await filled.settle()
    filled.delete(POD, name="llama-predictor-1")
    await asleep(filled)
    assert cache(filled)["givenUp"]["reason"] == "ImagePullFailed"
    assert not jobs(filled)


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
    assert not filled.pusher.places.taken_in("chat")


async def test_until_it_is_gone_it_counts_for_its_namespace(filled: Loop) -> None:
    await asleep(filled)
    runs(filled)
    filled.api.faults["delete Job"] = (409, "it has changed meanwhile")
    filled.delete(ACCELERATOR_PROFILE, namespace="", name="cpu")
    await filled.settle()
    assert filled.pusher.places.taken_in("chat")
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
    for name in ("one", "two"):
        filled.pusher.places.take(ModelKey("chat", name))
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
