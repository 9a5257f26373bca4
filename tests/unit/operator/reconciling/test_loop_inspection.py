"""Reading a model's files by a Job, in the operator's loop: from the first reconcile to the plan, and failures."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from slipway.api.model_key import ModelKey
from slipway.api.names import OWNER_LABEL
from slipway.kube.work_queue import NEVER
from slipway.objects.kinds import (
    ACCELERATOR_PROFILE,
    CLUSTER_SERVING_RUNTIME,
    CORE_EVENT,
    JOB,
    LLM_DEPLOYMENT,
    POD,
    POD_MONITOR,
    SERVICE_ACCOUNT,
    Object,
)
from slipway.operator.installation import Installation
from slipway.operator.reconciling.inspections import MOST_AT_A_TIME
from slipway.operator.reconciling.snapshots import MOST_JOBS
from support.builders.inspections import claim, ended_pod, failure, pod, report, runtime
from support.builders.stored import CREATED, kube_object, llm, made_by_kserve
from support.fakes.api_server import KEY
from support.programs.operator_loop import INSTALLATION, Loop, condition, state_and_reason, status

INSPECTS = Installation(INSTALLATION.namespace, INSTALLATION.activators, inspects=("*",))


def with_volume(loop: Loop) -> Loop:
    loop.api.put(claim())
    loop.api.put(runtime())
    loop.api.put(kube_object(SERVICE_ACCOUNT, "slipway-inspect"))
    return loop


@pytest.fixture
def loop() -> Loop:
    """A model on GPUs that names no profile, and whose numbers are unknown."""
    loop = with_volume(Loop(installation=INSPECTS))
    loop.api.put(llm(engine={"name": "vllm"}))
    return loop


def the_job(loop: Loop) -> Object:
    [found] = [each for (kind, *_), each in loop.api.objects.items() if kind == JOB]
    return found


def ends(loop: Loop, message: str, *, code: int = 0) -> None:
    """The pod of the Job ends, and so does the Job."""
    job = the_job(loop)
    loop.api.put(ended_pod(job, message, code=code))
    ended = {"type": "Failed" if code else "Complete", "status": "True", "lastTransitionTime": "2026-11-21T10:00:00Z"}
    name = job["metadata"]["name"]
    loop.api.change(JOB, {"status": {"conditions": [ended]}}, name=name)


# --- from the first reconcile to the plan ----------------------------------------------------------------------------


async def test_the_first_reconcile_creates_a_job_and_the_model_waits_for_it(loop: Loop) -> None:
    assert await loop.reconcile() == 15
    assert loop.api.writes() == ["create Job", "apply-status LLMDeployment", "create Event"]
    assert state_and_reason(loop) == ("Idle", "ReadingModel")
    assert condition(loop, "Planned")["status"] == "False"
    assert condition(loop, "Reconciling")["status"] == "True"
    assert condition(loop, "Stalled")["status"] == "False"


async def test_a_reconcile_before_the_watch_has_reported_the_job_creates_no_other(loop: Loop) -> None:
    loop.catch_up()
    loop.silent.add(JOB)
    for _ in range(3):
        await loop.reconcile()
    assert loop.api.writes().count("create Job") == 1


async def test_an_operator_that_has_forgotten_the_job_does_not_create_another(loop: Loop) -> None:
    await loop.reconcile()
    loop.silent.add(JOB)
    loop.take_over()
    loop.api.writes()
    await loop.reconcile()
    assert loop.api.writes() == ["create Job"]
    assert "failure" not in status(loop).get("model", {})


async def test_its_report_is_kept_on_the_object_and_the_job_is_removed(loop: Loop) -> None:
    await loop.reconcile()
    ends(loop, report())
    await loop.reconcile()
    assert status(loop)["model"]["source"] == "pvc://models/llama"
    assert status(loop)["model"]["evidence"] == "exact"
    assert '"num_hidden_layers":32' in status(loop)["model"]["facts"]
    assert "delete Job" not in loop.api.writes()
    await loop.reconcile()
    assert "delete Job" in loop.api.writes()
    for _ in range(3):
        await loop.reconcile()
    assert not [each for each in loop.api.writes() if "Job" in each]


async def test_a_cluster_whose_crd_does_not_store_the_report_starts_no_second_job(loop: Loop) -> None:
    """The operator may be newer than the CRDs."""
    await loop.reconcile()
    ends(loop, report())
    for _ in range(3):
        await loop.reconcile()
        kept = {name: each for name, each in status(loop).items() if name != "model"}
        loop.api.put({**loop.api.get(LLM_DEPLOYMENT), "status": kept})
    assert loop.api.writes().count("create Job") == 1
    assert condition(loop, "Planned")["reason"] == "ProfileMissing", "it is planned by the report all the same"


async def test_with_the_report_the_planner_knows_the_model(loop: Loop) -> None:
    await loop.reconcile()
    assert "isn't known" in status(loop)["message"] or condition(loop, "Planned")["reason"] == "ReadingModel"
    ends(loop, report())
    await loop.reconcile()
    assert condition(loop, "Planned")["reason"] == "ProfileMissing", "only a profile is lacking now"


async def test_another_operator_needs_no_job_for_what_the_object_says(loop: Loop) -> None:
    await loop.reconcile()
    ends(loop, report())
    await loop.settle()
    loop.take_over()
    await loop.settle()
    assert not [each for (kind, *_), each in loop.api.objects.items() if kind == JOB]


async def test_another_source_is_read_again(loop: Loop) -> None:
    await loop.reconcile()
    ends(loop, report())
    await loop.settle()
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"model": {"uri": "pvc://models/other"}}, "metadata": {"generation": 2}})
    await loop.reconcile()
    assert "create Job" in loop.api.writes()


async def test_a_model_with_profiles_runs_while_its_files_are_read() -> None:
    loop = with_volume(Loop(installation=INSPECTS))
    cpu = {"vendor": "CPU", "resource": {"name": "cpu", "count": 1}, "memory": "16Gi"}
    loop.api.put(kube_object(ACCELERATOR_PROFILE, "cpu", spec=cpu))
    loop.api.missing = {POD_MONITOR}
    loop.api.put(llm(accelerator={"profiles": ["cpu"]}))
    await loop.reconcile()
    assert loop.api.writes()[: len(CREATED) + 1] == [*CREATED, "create Job"]
    assert "A Job that reads the headers of the model's files is being created." in status(loop)["plan"]["why"]
    loop.api.put(made_by_kserve())
    ends(loop, failure("ModelCorrupt", "config.json isn't valid JSON."), code=12)
    await loop.settle()
    assert state_and_reason(loop) == ("Idle", "ScaledToZero"), "the model's own pods will say whether it is damaged"
    assert any("config.json isn't valid JSON" in each for each in status(loop)["plan"]["why"])


# --- where it isn't allowed ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inspects", [(), ("another",)])
async def test_where_the_chart_does_not_allow_it_nothing_is_started(inspects: tuple[str, ...]) -> None:
    loop = with_volume(Loop(installation=Installation(INSTALLATION.namespace, inspects=inspects)))
    loop.api.put(llm(engine={"name": "vllm"}))
    await loop.reconcile()
    assert "create Job" not in loop.api.writes()
    assert state_and_reason(loop) == ("Failed", "NoAcceleratorFits")
    assert "add chat to planner.inspection.namespaces of its chart" in status(loop)["message"]
    assert any(watch.kind == JOB for watch in loop.watched) is bool(inspects)


async def test_the_account_is_created_where_the_chart_has_not_made_it(loop: Loop) -> None:
    loop.api.remove(SERVICE_ACCOUNT, name="slipway-inspect")
    await loop.reconcile()
    assert loop.api.writes()[:2] == ["create ServiceAccount", "create Job"]
    account = loop.api.get(SERVICE_ACCOUNT, name="slipway-inspect")
    assert account["automountServiceAccountToken"] is False


GONE = (
    "Slipway's rights on Jobs in namespace chat are gone, so it can't read the model's files: restore the Role and the "
    "RoleBinding slipway-operator-inspection there, or remove it from planner.inspection.namespaces."
)


async def test_where_the_rights_are_gone_no_job_is_tried_and_the_models_that_need_one_say_so(loop: Loop) -> None:
    loop.closed.add((JOB, "chat"))
    await loop.reconcile()
    assert "create Job" not in loop.api.writes()
    assert state_and_reason(loop) == ("Failed", "PermissionDenied")
    assert status(loop)["message"].startswith(f"PermissionDenied: {GONE}")
    assert "failure" not in status(loop).get("model", {}), "it is no try"
    loop.closed.clear()
    await loop.reconcile()
    assert "create Job" in loop.api.writes()


async def test_where_the_rights_are_gone_models_with_profiles_run() -> None:
    loop = with_volume(Loop(installation=INSPECTS))
    loop.closed.add((JOB, "chat"))
    cpu = {"vendor": "CPU", "resource": {"name": "cpu", "count": 1}, "memory": "16Gi"}
    loop.api.put(kube_object(ACCELERATOR_PROFILE, "cpu", spec=cpu))
    loop.api.missing = {POD_MONITOR}
    loop.api.put(llm(accelerator={"profiles": ["cpu"]}))
    await loop.reconcile()
    assert loop.api.writes()[: len(CREATED)] == CREATED
    assert GONE in status(loop)["plan"]["why"]


async def test_where_the_rights_are_gone_a_job_that_has_reported_still_counts_and_is_left_to_expire(loop: Loop) -> None:
    await loop.reconcile()
    loop.closed.add((JOB, "chat"))
    ends(loop, report())
    await loop.settle()
    assert status(loop)["model"]["evidence"] == "exact"
    assert the_job(loop)


async def test_a_job_that_may_not_be_removed_does_not_stop_the_reconcile(loop: Loop) -> None:
    """The rights may be gone since a moment ago."""
    await loop.reconcile()
    ends(loop, report())
    await loop.reconcile()
    loop.api.faults["delete Job"] = (403, "it may not")
    await loop.settle()
    assert condition(loop, "Planned")["reason"] == "ProfileMissing"


# --- many of them ----------------------------------------------------------------------------------------------------


async def with_all_places_taken(loop: Loop) -> list[ModelKey]:
    """The models whose files are read."""
    keys = [KEY._replace(name=f"model-{number}") for number in range(MOST_AT_A_TIME)]
    for key in keys:
        put_model(loop, key)
        await loop.reconcile(key)
    assert loop.api.writes().count("create Job") == MOST_AT_A_TIME
    return keys


def put_model(loop: Loop, key: ModelKey) -> None:
    place = {"name": key.name, "namespace": key.namespace, "uid": f"{key.namespace}-{key.name}"}
    loop.api.put(llm(engine={"name": "vllm"}) | {"metadata": llm()["metadata"] | place})


async def reconciled(loop: Loop, key: ModelKey) -> tuple[float | None, str]:
    """The seconds until the next one, and the message."""
    wait = await loop.reconcile(key)
    found = loop.api.get(LLM_DEPLOYMENT, namespace=key.namespace, name=key.name)["status"]
    assert found["conditions"][0]["reason"] == "ReadingModel"
    return wait, found["message"]


def job_of(loop: Loop, key: ModelKey) -> Object:
    [found] = [
        each
        for (kind, *_), each in loop.api.objects.items()
        if kind == JOB and each["metadata"]["labels"][OWNER_LABEL] == key.name
    ]
    return found


def is_done(loop: Loop, key: ModelKey) -> None:
    job = job_of(loop, key)
    loop.api.put(ended_pod(job, report()))
    ended = {"type": "Complete", "status": "True", "lastTransitionTime": "2026-11-21T10:00:00Z"}
    loop.api.change(JOB, {"status": {"conditions": [ended]}}, name=job["metadata"]["name"])


LATE = [KEY._replace(name="late-1"), KEY._replace(name="late-2")]


async def test_models_that_wait_for_a_place_say_how_many_are_before_them_and_are_queued_in_their_order(
    loop: Loop,
) -> None:
    keys = await with_all_places_taken(loop)
    for number, key in enumerate(LATE):
        put_model(loop, key)
        wait, message = await reconciled(loop, key)
        assert message == (
            "ReadingModel: The Job that reads the headers of the model's files waits for "
            f"{MOST_AT_A_TIME + number} inspections of namespace chat before it, of which 8 run at a time. "
            "The plan follows."
        )
        assert wait == 60 + MOST_AT_A_TIME + number
    assert (await reconciled(loop, LATE[0]))[0] == 60 + MOST_AT_A_TIME, "its place in the line stays"
    assert "create Job" not in loop.api.writes()
    assert loop.requeued == []
    is_done(loop, keys[3])
    await loop.reconcile(keys[3])
    assert loop.requeued == [(LATE[0], 0)]
    assert "is being created" in (await reconciled(loop, LATE[0]))[1]
    assert "create Job" in loop.api.writes()
    assert f"waits for {MOST_AT_A_TIME} inspections" in (await reconciled(loop, LATE[1]))[1]


async def test_a_model_that_is_gone_frees_its_place(loop: Loop) -> None:
    keys = await with_all_places_taken(loop)
    put_model(loop, LATE[0])
    await loop.reconcile(LATE[0])
    loop.api.remove(LLM_DEPLOYMENT, name=keys[0].name)
    await loop.reconcile(keys[0])
    assert loop.requeued == [(LATE[0], 0)]


async def test_another_namespace_has_places_of_its_own(loop: Loop) -> None:
    await with_all_places_taken(loop)
    elsewhere = KEY._replace(namespace="code")
    put_model(loop, elsewhere)
    loop.api.put(claim() | {"metadata": claim()["metadata"] | {"namespace": "code", "uid": "another"}})
    assert "is being created" in (await reconciled(loop, elsewhere))[1]


async def test_after_a_restart_the_jobs_that_are_there_have_their_places(loop: Loop) -> None:
    """Otherwise each restart of the operator would start as many again."""
    await with_all_places_taken(loop)
    put_model(loop, LATE[0])
    loop.take_over()
    assert f"waits for {MOST_AT_A_TIME} inspections" in (await reconciled(loop, LATE[0]))[1]
    assert "create Job" not in loop.api.writes()


async def test_after_a_restart_jobs_that_have_ended_have_no_place(loop: Loop) -> None:
    keys = await with_all_places_taken(loop)
    is_done(loop, keys[0])
    put_model(loop, LATE[0])
    loop.take_over()
    assert "is being created" in (await reconciled(loop, LATE[0]))[1]


async def test_of_models_that_are_reconciled_at_the_same_time_no_more_are_started_than_there_are_places(
    loop: Loop,
) -> None:
    keys = [KEY._replace(name=f"model-{number}") for number in range(MOST_AT_A_TIME + 4)]
    for key in keys:
        put_model(loop, key)
    loop.catch_up()
    waits = await asyncio.gather(*(loop.reconciler.reconcile(key) for key in keys))
    assert loop.api.writes().count("create Job") == MOST_AT_A_TIME
    assert sum(wait is not None and wait != 15 for wait in waits) == 4


# --- failures --------------------------------------------------------------------------------------------------------


async def test_a_failure_is_the_state_of_the_model_and_is_tried_again(loop: Loop) -> None:
    await loop.reconcile()
    first = the_job(loop)["metadata"]["name"]
    ends(loop, failure("ModelNotFound", "/mnt/models/llama doesn't exist."), code=10)
    assert await loop.reconcile() == 60
    assert state_and_reason(loop) == ("Failed", "ModelNotFound")
    assert "/mnt/models/llama doesn't exist. Check spec.model.uri and its path." in status(loop)["message"]
    assert status(loop)["model"]["failure"]["tries"] == 1
    assert the_job(loop)["metadata"]["name"] == first, "it stays for its log"
    loop.time += timedelta(seconds=60)
    loop.api.writes()
    await loop.reconcile()
    assert loop.api.writes()[:2] == ["delete Job", "create Job"]
    assert the_job(loop)["metadata"]["name"] != first
    assert state_and_reason(loop) == ("Idle", "ReadingModel")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ((403, 'jobs.batch "x" is forbidden: exceeded quota: jobs'), "QuotaExceeded"),
        ((403, 'admission webhook "x" denied the request'), "AdmissionDenied"),
        ((403, 'User "slipway" cannot create resource "jobs" in API group "batch"'), "PermissionDenied"),
        ((422, "Job is invalid"), "InvalidSpec"),
    ],
)
async def test_a_job_that_is_refused_is_reported_and_tried_again(
    loop: Loop, fault: tuple[int, str], reason: str
) -> None:
    loop.api.faults["create Job"] = fault
    await loop.reconcile()
    assert status(loop)["model"]["failure"]["reason"] == reason
    assert await loop.reconcile() == 60
    assert state_and_reason(loop) == ("Failed", reason)


async def test_a_job_of_that_name_that_belongs_to_another_owner_is_left_alone(loop: Loop) -> None:
    await loop.reconcile()
    name = the_job(loop)["metadata"]["name"]
    loop.api.remove(JOB, name=name)
    loop.take_over()
    theirs = loop.api.put(kube_object(JOB, name, metadata={"labels": {}}, spec={"theirs": True}))
    await loop.reconcile()
    await loop.reconcile()
    assert loop.api.get(JOB, name=name) == theirs
    assert state_and_reason(loop) == ("Failed", "NameTaken")


async def test_an_api_server_that_is_down_delays_the_job_and_is_no_failure_of_it(loop: Loop) -> None:
    loop.api.faults["create Job"] = (503, "etcd is down")
    assert "503" in await loop.failing_reconcile()
    loop.api.faults.clear()
    await loop.reconcile()
    assert "failure" not in status(loop).get("model", {})
    assert state_and_reason(loop) == ("Idle", "ReadingModel")


async def test_why_a_late_job_has_no_pod_is_looked_up_and_reported(loop: Loop) -> None:
    await loop.reconcile()
    job = the_job(loop)
    loop.api.change(JOB, {"metadata": {"creationTimestamp": "2026-11-21T09:59:30Z"}}, name=job["metadata"]["name"])
    event: Object = {
        "reason": "FailedCreate",
        "message": 'Error creating: pods "x" is forbidden: violates PodSecurity "restricted"',
        "involvedObject": {"kind": "Job", "name": job["metadata"]["name"], "uid": job["metadata"]["uid"]},
    }
    loop.api.put(kube_object(CORE_EVENT, "of-the-job", **event))
    await loop.reconcile()
    assert 'violates PodSecurity "restricted"' in status(loop)["message"]
    assert state_and_reason(loop) == ("Idle", "ReadingModel")


def labelled_as_ours(loop: Loop, job: str, **controller: str) -> Object:
    owner = {"kind": "LLMDeployment", "name": KEY.name, "uid": "forged", "controller": True, **controller}
    metadata = {"labels": {OWNER_LABEL: KEY.name}, "ownerReferences": [owner]}
    long_ago = {"creationTimestamp": "2026-11-21T09:59:30Z"}
    return loop.api.put(kube_object(JOB, job, metadata={**metadata, **long_ago}))


async def test_jobs_of_others_that_are_labelled_as_ours_cost_no_requests_and_concern_no_model(loop: Loop) -> None:
    await loop.reconcile()
    loop.api.put(pod(the_job(loop)))
    uid = loop.api.get(LLM_DEPLOYMENT)["metadata"]["uid"]
    [watch] = [each for each in loop.watched if each.kind == JOB]
    forged = [
        *(labelled_as_ours(loop, f"theirs-{number}", uid=uid) for number in range(3)),
        labelled_as_ours(loop, f"{KEY.name}-inspect-00000001", kind="CronJob"),
        labelled_as_ours(loop, f"{KEY.name}-inspect-00000002", name="another"),
    ]
    assert [list(watch.keys(watch.shrunk(each))) for each in forged] == [[]] * len(forged)
    labelled_as_ours(loop, f"{KEY.name}-inspect-00000003")
    await loop.settle()
    await loop.reconcile()
    assert loop.api.requests == []
    assert all(loop.api.get(JOB, name=each["metadata"]["name"]) for each in forged)


async def test_of_very_many_jobs_that_claim_to_be_of_a_model_few_are_read(loop: Loop) -> None:
    await loop.reconcile()
    uid = loop.api.get(LLM_DEPLOYMENT)["metadata"]["uid"]
    for number in range(50):
        labelled_as_ours(loop, f"{KEY.name}-inspect-{number:08x}", uid=uid)
    loop.catch_up()
    there = loop.api.get(LLM_DEPLOYMENT)
    seen = loop.reader.read(KEY, there, loop.memories.of(KEY, uid)).inspection
    assert seen
    assert len(seen.jobs) <= MOST_JOBS + 1
    loop.api.requests.clear()
    await loop.reconcile()
    assert not [each for each in loop.api.requests if "events" in str(each)]


async def test_a_job_in_time_costs_no_requests(loop: Loop) -> None:
    await loop.reconcile()
    loop.api.put(pod(the_job(loop)))
    await loop.settle()
    await loop.reconcile()
    assert loop.api.requests == []


# --- the end ---------------------------------------------------------------------------------------------------------


async def test_a_deleted_model_leaves_its_job_to_garbage_collection(loop: Loop) -> None:
    await loop.reconcile()
    assert the_job(loop)["metadata"]["ownerReferences"][0]["uid"] == loop.api.get(LLM_DEPLOYMENT)["metadata"]["uid"]
    loop.api.remove(LLM_DEPLOYMENT)
    loop.api.writes()
    assert await loop.reconcile() == NEVER
    assert loop.api.writes() == []


async def test_a_change_of_the_pod_concerns_its_model(loop: Loop) -> None:
    await loop.reconcile()
    [watch] = [each for each in loop.watched if each.kind == POD]
    assert list(watch.keys(watch.keep(pod(the_job(loop))))) == [KEY]


async def test_an_invalid_spec_keeps_what_was_read(loop: Loop) -> None:
    await loop.reconcile()
    ends(loop, report())
    await loop.settle()
    before = status(loop)["model"]
    loop.api.change(LLM_DEPLOYMENT, {"spec": {"engine": {"mode": "Wrong"}}, "metadata": {"generation": 2}})
    await loop.reconcile()
    assert state_and_reason(loop)[1] == "InvalidSpec"
    assert status(loop)["model"] == before


async def test_without_a_runtime_of_slipway_no_other_image_reads_the_files(loop: Loop) -> None:
    loop.api.remove(CLUSTER_SERVING_RUNTIME, namespace="", name="slipway-llamacpp")
    other = runtime()
    other["metadata"]["name"] = "somebodys"
    loop.api.put(other)
    await loop.reconcile()
    assert "create Job" not in loop.api.writes()
    assert "No ClusterServingRuntime of Slipway has an image" in status(loop)["message"]
