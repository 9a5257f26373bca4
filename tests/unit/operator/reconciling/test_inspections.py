"""When a Job reads a model's files, when it doesn't, and what the plan says about it: the whole world in and out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from slipway.api.llmdeployment import LLMDeployment
from slipway.api.reasons import Reason
from slipway.api.status import ModelStatus
from slipway.objects.kinds import Object
from slipway.objects.metadata import name_of
from slipway.observing.cause import Cause
from slipway.observing.inspection_record import MOST_TRIES, as_status, source_of, with_failure, with_report
from slipway.observing.snapshot import Inspection, Snapshot
from slipway.operator.installation import Installation
from slipway.operator.planning import Plan, Unplannable
from slipway.operator.reconciling.inspections import (
    Inspecting,
    Need,
    decide_inspection,
    known_files,
    with_inspection,
)
from slipway.operator.rendering.inspection import job_name
from support.builders import inspections
from support.builders.inspections import claim, ended_pod, failure, job, report, runtime
from support.builders.rendering import deployment

NOW = datetime(2026, 11, 21, 10, 0, 10, tzinfo=UTC)
MODEL = deployment(model={"uri": "pvc://models/llama"})
LACKS = Need(lacks=True, is_planned=False)
PLANNED = Need(lacks=True, is_planned=True, is_wanted=True)
KNOWN = Need(lacks=False, is_planned=True)
NOT_FOUND = Cause(Reason.MODEL_NOT_FOUND, "It isn't there.", final=True)
FREE = Inspection(claim=claim(), runtime=runtime())
NO_PLAN = Unplannable(Reason.NO_ACCELERATOR_FITS, "The planner's own sentence.")


def decided(
    seen: Inspection | None = FREE,
    need: Need = LACKS,
    *,
    model: LLMDeployment = MODEL,
    record: ModelStatus | None = None,
    pods: tuple[Object, ...] = (),
    now: datetime = NOW,
) -> Inspecting:
    status = {"model": as_status(record)} if record else None
    llm_deployment: Object = {"metadata": {}, **({"status": status} if status else {})}
    snapshot = Snapshot(now=now, llm_deployment=llm_deployment, inspection=seen, pods=pods)
    return decide_inspection(model, snapshot, known_files(model, snapshot), need)


def name_of_try(number: int, model: LLMDeployment = MODEL) -> str:
    return job_name(model, source_of(model), number)


def seeing(*jobs: Object, pods: tuple[Object, ...] = (), **more: Any) -> Inspection:
    return replace(FREE, jobs={name_of(each): each for each in jobs}, pods=pods, **more)


def node_pod(node: str = "gpu-1") -> Object:
    return {"metadata": {"name": "llama-1", "uid": "1"}, "spec": {"nodeName": node} if node else {}}


# --- whether one is started ------------------------------------------------------------------------------------------


def test_a_job_reads_the_files_of_a_model_that_the_planner_does_not_know() -> None:
    found = decided()
    assert found.start
    assert found.start.name == name_of_try(1)
    assert found.cause
    assert found.cause.reason == Reason.READING_MODEL


@pytest.mark.parametrize(
    ("need", "uri"),
    [(KNOWN, "pvc://models/llama"), (LACKS, "hf://org/model"), (LACKS, "s3://bucket/model")],
    ids=["its numbers are known", "the Hub is no volume", "nor is a bucket"],
)
def test_no_job_is_started_if_nothing_is_lacking_or_a_job_could_not_read_it(need: Need, uri: str) -> None:
    found = decided(need=need, model=deployment(model={"uri": uri}))
    assert (found.start, found.cause) == (None, None)


def test_where_jobs_are_not_allowed_the_sentence_names_the_value_of_the_chart() -> None:
    found = decided(None)
    assert found.start is None
    assert found.cause
    assert "add chat to planner.inspection.namespaces" in found.cause.message


@pytest.mark.parametrize(
    ("inspects", "watched", "namespaces"),
    [
        ((), (), ""),
        (("*",), (), "chat code"),
        (("*",), ("chat",), "chat"),
        (("chat",), (), "chat"),
        (("chat", "code"), ("chat",), "chat"),
    ],
)
def test_jobs_are_allowed_only_where_models_are_served(
    inspects: tuple[str, ...], watched: tuple[str, ...], namespaces: str
) -> None:
    installation = Installation(inspects=inspects, watched=watched)
    assert [each for each in ("chat", "code") if installation.may_inspect(each)] == namespaces.split()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"claim": None}, Reason.POD_CONFIG_ERROR),
        ({"claim": claim(phase="Pending")}, Reason.VOLUME_NOT_READY),
        ({"runtime": None}, Reason.RUNTIME_MISSING),
        ({"runtime": runtime(image="")}, Reason.RUNTIME_MISSING),
    ],
    ids=["no claim", "a claim without a volume", "no runtime", "a runtime without an image"],
)
def test_what_a_job_needs_must_be_there_first(change: dict[str, Any], reason: Reason) -> None:
    found = decided(replace(FREE, **change))
    assert found.start is None
    assert found.cause
    assert found.cause.reason == reason


def test_nothing_is_started_for_a_paused_model() -> None:
    paused = deployment(annotations={"slipway.dev/paused": "true"}, model={"uri": "pvc://models/llama"})
    found = decided(model=paused)
    assert found.start is None
    assert found.cause
    assert found.cause.reason == Reason.PAUSED


# --- a volume that only one node can use ------------------------------------------------------------------------------

ONE_NODE, ONE_POD = (
    replace(FREE, claim=claim("models", "ReadWriteOnce")),
    replace(FREE, claim=claim("models", "ReadWriteOncePod")),
)
WAITS = None


@pytest.mark.parametrize(
    ("seen", "need", "pods", "node"),
    [
        (FREE, PLANNED, (node_pod(),), ""),
        (ONE_NODE, LACKS, (), ""),
        (ONE_NODE, LACKS, (node_pod(""),), ""),
        (ONE_NODE, LACKS, (node_pod(),), "gpu-1"),
        (ONE_NODE, PLANNED, (node_pod(),), "gpu-1"),
        (ONE_NODE, PLANNED, (node_pod(""),), WAITS),
        (ONE_NODE, PLANNED, (), WAITS),
        (ONE_NODE, replace(PLANNED, is_wanted=False), (), ""),
        (ONE_POD, LACKS, (), ""),
        (ONE_POD, PLANNED, (node_pod(),), WAITS),
        (ONE_POD, LACKS, (node_pod(),), WAITS),
    ],
)
def test_a_job_never_takes_the_volume_from_a_replica(
    seen: Inspection, need: Need, pods: tuple[Object, ...], node: str | None
) -> None:
    found = decided(seen, need, pods=pods)
    if node is WAITS:
        assert found.start is None
        assert found.cause
        assert found.cause.reason == Reason.VOLUME_NOT_READY
        return
    assert found.start
    assert ("affinity" in found.start.manifest["spec"]["template"]["spec"]) is bool(node)


# --- while it runs ---------------------------------------------------------------------------------------------------


def test_a_running_job_is_neither_started_again_nor_removed() -> None:
    running = job(name_of_try(1))
    found = decided(seeing(running))
    assert (found.start, found.remove) == (None, ())
    assert found.cause
    assert found.cause.reason == Reason.READING_MODEL
    assert f"Job {name_of_try(1)} reads the headers of the model's files since 10:00:00 UTC" in found.cause.message
    assert found.look_again_at == NOW + timedelta(seconds=15)


@pytest.mark.parametrize("owner", ["another", ""])
def test_a_job_of_that_name_that_is_not_ours_is_never_taken_for_ours(owner: str) -> None:
    theirs = job(name_of_try(1), owner=owner, ended="Complete")
    if not owner:
        theirs["metadata"]["ownerReferences"] = []
    found = decided(seeing(theirs, pods=(ended_pod(theirs, report()),)))
    assert found.record.facts is None
    assert found.remove == ()
    assert found.start, "the API server refuses it, and that is reported"


def test_jobs_of_an_earlier_source_are_removed_and_others_of_the_model_are_left_alone() -> None:
    old, other = job("llama-inspect-00000000"), job("llama-cache")
    assert decided(seeing(old, other)).remove == (old,)
    assert decided(seeing(old, other), KNOWN).remove == (old,)


# --- the result ------------------------------------------------------------------------------------------------------


def test_a_report_is_recorded_and_its_job_is_removed_when_the_record_is_stored() -> None:
    done = job(name_of_try(1), ended="Complete")
    seen = seeing(done, pods=(ended_pod(done, report()),))
    found = decided(seen, KNOWN)
    assert found.record.facts
    assert found.record.source == "pvc://models/llama"
    assert (found.start, found.cause, found.remove) == (None, None, ())
    assert decided(seen, KNOWN, record=found.record).remove == (done,)


def test_files_that_do_not_say_what_is_lacking_are_not_read_again() -> None:
    found = decided(record=with_report(source_of(MODEL), '{"files":1}', NOW))
    assert (found.start, found.cause) == (None, None)


def test_a_new_value_of_the_annotation_reads_them_again_though_nothing_is_lacking() -> None:
    record = with_report(source_of(MODEL), '{"files":1}', NOW)
    again = deployment(annotations={"slipway.dev/sync": "2"}, model={"uri": "pvc://models/llama"})
    assert decided(need=KNOWN, model=again, record=record).start
    assert decided(need=KNOWN, model=again).start is None, "what was never read isn't read again"


def test_a_failure_is_recorded_once_and_its_job_stays_for_its_log() -> None:
    failed = job(name_of_try(1), ended="Failed")
    seen = seeing(failed, pods=(ended_pod(failed, failure("ModelNotFound", "It isn't there."), code=10),))
    first = decided(seen)
    assert first.record.failure
    assert (first.record.failure.tries, first.record.failure.reason) == (1, "ModelNotFound")
    second = decided(seen, record=first.record)
    assert second.record == first.record
    assert (second.start, second.remove) == (None, ())
    assert second.cause
    assert second.cause.reason == Reason.MODEL_NOT_FOUND
    assert "(1 try, next try at 10:01:10 UTC): It isn't there." in second.cause.message
    assert second.look_again_at == NOW + timedelta(minutes=1)


def test_the_next_try_starts_when_its_time_has_come_and_removes_the_one_before() -> None:
    failed = job(name_of_try(1), ended="Failed")
    record = with_failure(ModelStatus(), source_of(MODEL), NOT_FOUND, NOW)
    found = decided(seeing(failed), record=record, now=NOW + timedelta(minutes=1))
    assert found.start
    assert found.start.name == name_of_try(2)
    assert found.remove == (failed,)


def test_after_the_last_try_only_a_person_starts_another() -> None:
    record = ModelStatus()
    for _ in range(MOST_TRIES):
        record = with_failure(record, source_of(MODEL), NOT_FOUND, NOW)
    found = decided(record=record, now=NOW + timedelta(days=1))
    assert (found.start, found.look_again_at) == (None, None)
    assert found.cause
    assert "(5 tries, set slipway.dev/sync to a new value to have it tried again)" in found.cause.message
    again = deployment(annotations={"slipway.dev/sync": "2"}, model={"uri": "pvc://models/llama"})
    assert decided(record=record, model=again).start


# --- what the plan says ----------------------------------------------------------------------------------------------


def said(plan: Plan | Unplannable, inspecting: Inspecting) -> Plan | Unplannable:
    return with_inspection(plan, inspecting, Need(lacks=True, is_planned=isinstance(plan, Plan)))


def test_a_plan_says_in_one_sentence_what_is_done_about_the_numbers_that_it_lacks() -> None:
    plan = said(Plan(engine="vllm", runtime="x", why=("First.",)), decided(need=PLANNED))
    assert isinstance(plan, Plan)
    assert plan.why == ("First.", "A Job that reads the headers of the model's files is being created.")


def test_without_a_plan_the_model_waits_for_the_job() -> None:
    plan = said(NO_PLAN, decided())
    assert isinstance(plan, Unplannable)
    assert plan.reason == Reason.READING_MODEL
    assert plan.message.endswith("The plan follows.")


def test_a_failure_is_the_reason_and_the_planners_ways_out_are_added() -> None:
    plan = said(NO_PLAN, decided(record=with_failure(ModelStatus(), source_of(MODEL), NOT_FOUND, NOW)))
    assert isinstance(plan, Unplannable)
    assert plan.reason == Reason.MODEL_NOT_FOUND
    assert plan.message.endswith("It isn't there. The planner's own sentence.")


def test_where_jobs_are_not_allowed_the_planners_reason_stays() -> None:
    plan = said(NO_PLAN, decided(None))
    assert isinstance(plan, Unplannable)
    assert plan.reason == Reason.NO_ACCELERATOR_FITS
    assert plan.message.startswith("The planner's own sentence. Slipway may not read the model's files by a Job")


def test_another_reason_why_there_is_no_plan_is_not_hidden() -> None:
    missing = Unplannable(Reason.PROFILE_MISSING, "There is no profile.")
    assert said(missing, decided()) == missing


def test_a_model_that_lacks_nothing_says_nothing() -> None:
    plan = Plan(engine="vllm", runtime="x")
    again = deployment(annotations={"slipway.dev/sync": "2"}, model={"uri": "pvc://models/llama"})
    inspecting = decided(need=KNOWN, model=again, record=with_report(source_of(MODEL), '{"files":1}', NOW))
    assert with_inspection(plan, inspecting, KNOWN) == plan


def test_the_builders_job_is_one_of_the_model() -> None:
    assert MODEL.metadata.uid == inspections.job()["metadata"]["ownerReferences"][0]["uid"]
