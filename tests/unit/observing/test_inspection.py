"""The state of a Job that reads a model's files, and what is recorded of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from slipway.api.llmdeployment import LLMDeployment
from slipway.api.reasons import Reason
from slipway.api.status import ModelStatus
from slipway.contract.pod import REPORT_LIMIT, REPORT_START
from slipway.objects.kinds import Object
from slipway.observing.cause import Cause
from slipway.observing.inspection import LONGEST, Outcome, Reported, is_late, outcome_of
from slipway.observing.inspection_record import (
    MOST_TRIES,
    PAUSES,
    as_status,
    facts_for,
    failure_for,
    is_read,
    next_try,
    record_in,
    source_of,
    with_failure,
    with_report,
)
from slipway.observing.inspection_report import DEEPEST, decoded, facts_in
from slipway.observing.jobs import Failed, Running
from slipway.observing.snapshot import Inspection, Snapshot
from support.builders.inspections import CONTENT, ended_pod, failure, job, pod, report, report_of

NOW = datetime(2026, 11, 21, 10, 0, 10, tzinfo=UTC)


def outcome(of: Object, *pods: Object, events: tuple[Object, ...] = (), after: float = 10) -> Outcome:
    now = NOW - timedelta(seconds=10) + timedelta(seconds=after)
    return outcome_of(of, Snapshot(now=now, inspection=Inspection(pods=pods, events=events)))


def cause_of(found: Outcome) -> tuple[str, str]:
    assert isinstance(found, Failed), found
    return found.cause.reason, found.cause.message


# --- the report ------------------------------------------------------------------------------------------------------


def test_a_report_is_stored_as_json_that_people_can_read() -> None:
    stored = decoded(report())
    assert stored is not None
    assert json.loads(stored) == CONTENT
    assert facts_in(stored) == CONTENT


def nested(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


NOT_REPORTS = {
    "another program's message": "Segmentation fault",
    "a failure": failure("ModelNotFound", "x"),
    "another version of the format": report().replace("-1:", "-2:"),
    "not base 85": f"{REPORT_START}\n\n",
    "not compressed": REPORT_START + "0" * 50,
    "cut": report()[:-10],
    "more than a message has room for": report() + "0" * 4096,
    "a list": report([]),
    "a number": report(1),
    "not JSON": report_of(b"{"),
    "not UTF-8": report_of(b'{"a": "\xff"}'),
    "NaN": report_of(b'{"a": NaN}'),
    "an infinite number": report_of(b'{"a": 1e999}'),
    "a number with thousands of digits": report_of(b'{"a": %s}' % (b"9" * 5000)),
    "deeper than any config": report_of(nested(DEEPEST + 1)),
    "so deep that no parser follows": report_of(nested(5000)),
    "longer than it may be": report({"a": "x" * REPORT_LIMIT}),
    "longer in the spelling that is stored": report_of(f'{{"a": "{"é" * (REPORT_LIMIT // 3)}"}}'.encode()),
}


@pytest.mark.parametrize("message", NOT_REPORTS.values(), ids=NOT_REPORTS)
def test_anything_else_is_no_report(message: str) -> None:
    assert decoded(message) is None


@pytest.mark.parametrize(
    "stored", [None, "", "[]", "{", '{"a": NaN}', "x" * (REPORT_LIMIT + 1), nested(5000).decode()], ids=range(7)
)
def test_a_stored_report_that_others_have_changed_is_ignored(stored: str | None) -> None:
    assert facts_in(stored) is None


# --- the outcome of a Job --------------------------------------------------------------------------------------------


def test_a_job_whose_pod_has_reported_is_done_even_before_it_is_complete() -> None:
    of = job()
    found = outcome(of, ended_pod(of, report()))
    assert isinstance(found, Reported)
    assert json.loads(found.facts) == CONTENT


def test_a_pod_of_another_job_reports_nothing_of_this_one() -> None:
    assert outcome(job(), ended_pod(job("another"), report())) == Running()


def test_a_report_that_cannot_be_read_is_a_failure() -> None:
    of = job(ended="Complete")
    assert cause_of(outcome(of, ended_pod(of, "no report"))) == ("Unknown", "the report of the pod can't be read")


def test_a_failure_has_the_reason_that_the_pod_reports() -> None:
    of = job(ended="Failed")
    found = outcome(of, ended_pod(of, failure("ModelNotFound", "/mnt/models/x doesn't exist."), code=10))
    assert cause_of(found) == ("ModelNotFound", "/mnt/models/x doesn't exist. Check spec.model.uri and its path.")


def test_a_pod_that_is_killed_for_its_memory_is_a_failure() -> None:
    of = job(ended="Failed")
    assert cause_of(outcome(of, ended_pod(of, "", code=137, reason="OOMKilled")))[0] == "HostOutOfMemory"


def test_why_a_pod_does_not_start_is_known_while_it_may_still_start() -> None:
    of = job()
    message = "0/3 nodes are available: 3 Insufficient cpu."
    conditions = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]
    found = outcome(of, pod(of, phase="Pending", conditions=conditions, containerStatuses=[]))
    assert isinstance(found, Running)
    assert found.cause
    assert found.cause.reason == Reason.UNSCHEDULABLE
    late = outcome(of, pod(of, phase="Pending", conditions=conditions, containerStatuses=[]), after=LONGEST.seconds + 1)
    assert cause_of(late)[0] == "Unschedulable"


def test_a_cause_that_waiting_does_not_help_ends_it_early() -> None:
    of = job()
    waiting = {"waiting": {"reason": "InvalidImageName", "message": "couldn't parse image name"}}
    assert cause_of(outcome(of, pod(of, phase="Pending", state=waiting)))[0] == "ImageNameInvalid"


def test_an_evicted_pod_is_replaced_and_is_no_failure() -> None:
    of = job()
    conditions = [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "drain"}]
    evicted = pod(of, phase="Failed", conditions=conditions, containerStatuses=[])
    found = outcome(of, evicted)
    assert isinstance(found, Running)
    newer = ended_pod(of, report())
    newer["metadata"] |= {"creationTimestamp": "2026-11-21T10:00:05Z"}
    assert isinstance(outcome(of, evicted, newer), Reported)


def test_a_pod_on_a_node_that_is_not_watched_here_is_not_taken_for_lost() -> None:
    of = job()
    assert outcome_of(of, Snapshot(now=NOW, nodes={}, inspection=Inspection(pods=(pod(of),)))) == Running()


def test_a_job_without_a_pod_says_what_its_event_says() -> None:
    of = job()
    message = 'Error creating: pods "x" is forbidden: exceeded quota: small'
    event = {"reason": "FailedCreate", "message": message, "involvedObject": {"uid": of["metadata"]["uid"]}}
    found = outcome(of, events=(event,))
    assert isinstance(found, Running)
    assert found.cause
    assert (found.cause.reason, found.cause.message) == ("QuotaExceeded", "exceeded quota: small")
    other = {**event, "involvedObject": {"uid": "another"}}
    assert outcome(of, events=(other,)) == Running()


def test_a_job_that_does_not_finish_in_time_has_failed() -> None:
    assert outcome(job(), after=LONGEST.seconds) == Running()
    assert cause_of(outcome(job(), after=LONGEST.seconds + 1))[0] == "StartTimeout"


def test_a_job_that_has_ended_without_a_pod_waits_a_minute_for_the_other_watch() -> None:
    of = job(ended="Complete", message="1 pod succeeded")
    assert outcome(of, after=60) == Running()
    assert cause_of(outcome(of, after=61)) == ("Unknown", "its pod is gone: 1 pod succeeded")


@pytest.mark.parametrize(("after", "late"), [(15, False), (16, True)])
def test_events_are_looked_up_only_when_a_job_is_late(after: float, late: bool) -> None:
    snapshot = Snapshot(now=NOW - timedelta(seconds=10) + timedelta(seconds=after), inspection=Inspection())
    assert is_late(job(), snapshot) is late


# --- what is recorded ------------------------------------------------------------------------------------------------


def deployment(sync: str = "", **model: str) -> LLMDeployment:
    annotations = {"slipway.dev/sync": sync} if sync else {}
    metadata = {"name": "llama", "namespace": "chat", "uid": "4711", "annotations": annotations}
    spec = {"model": {"uri": "pvc://models/llama", **model}}
    return LLMDeployment.model_validate({"metadata": metadata, "spec": spec})


SOURCE = source_of(deployment())
NOT_FOUND = Cause(Reason.MODEL_NOT_FOUND, "It isn't there.", final=True)


def failed(times: int, record: ModelStatus | None = None) -> ModelStatus:
    record = record or ModelStatus()
    for _ in range(times):
        record = with_failure(record, SOURCE, NOT_FOUND, NOW)
    return record


def test_what_was_read_is_recorded_with_its_source_and_survives_in_the_status() -> None:
    written = as_status(with_report(SOURCE, '{"files":1}', NOW))
    assert written == {
        "source": "pvc://models/llama",
        "digest": SOURCE.digest,
        "facts": '{"files":1}',
        "evidence": "exact",
        "readAt": "2026-11-21T10:00:10Z",
    }
    record = record_in({"model": written})
    assert facts_for(record, SOURCE) == {"files": 1}
    assert is_read(record, SOURCE)


@pytest.mark.parametrize("change", [{"uri": "pvc://models/other"}, {"credentialsSecret": "x"}, {"revision": "main"}])
def test_another_source_is_read_again(change: dict[str, str]) -> None:
    record = with_report(SOURCE, '{"files":1}', NOW)
    other = source_of(deployment(**change))
    assert facts_for(record, other) is None
    assert not is_read(record, other)


def test_a_new_value_of_the_annotation_requests_to_read_again_and_the_old_facts_hold_meanwhile() -> None:
    record = with_report(SOURCE, '{"files":1}', NOW)
    again = source_of(deployment(sync="2"))
    assert facts_for(record, again) == {"files": 1}
    assert not is_read(record, again)
    assert is_read(with_report(again, '{"files":2}', NOW), again)
    assert is_read(with_report(again, '{"files":2}', NOW), SOURCE), "removing the annotation requests nothing"


def test_a_failure_leaves_the_facts_of_the_same_source_and_drops_those_of_another() -> None:
    record = with_report(SOURCE, '{"files":1}', NOW)
    again = source_of(deployment(sync="2"))
    assert facts_for(with_failure(record, again, NOT_FOUND, NOW), again) == {"files": 1}
    other = source_of(deployment(uri="pvc://models/other"))
    assert with_failure(record, other, NOT_FOUND, NOW).facts is None


def test_tries_are_counted_for_each_source_and_pauses_grow_until_they_end() -> None:
    record = failed(1)
    for number, pause in enumerate(PAUSES, start=1):
        failure_ = failure_for(record, SOURCE)
        assert failure_
        assert (failure_.tries, next_try(failure_, NOW)) == (number, NOW.replace(microsecond=0) + pause)
        record = failed(1, record)
    last = failure_for(record, SOURCE)
    assert last
    assert (last.tries, next_try(last, NOW + timedelta(days=9))) == (MOST_TRIES, None)
    assert failure_for(record, source_of(deployment(sync="2"))) is None
    assert failure_for(record, source_of(deployment(uri="pvc://models/other"))) is None


@pytest.mark.parametrize("at", ["2999-01-01T00:00:00Z", "soon", ""])
def test_a_time_that_cannot_be_right_delays_no_try(at: str) -> None:
    failure_ = failed(1).failure
    assert failure_
    assert next_try(failure_.model_copy(update={"at": at}), NOW) == NOW


@pytest.mark.parametrize(
    "model", [1, [], {"facts": []}, {"facts": "x" * (REPORT_LIMIT + 1)}, {"failure": {"tries": -1}}], ids=str
)
def test_a_record_that_others_have_made_invalid_counts_as_none(model: object) -> None:
    assert record_in({"model": model}) == ModelStatus()
    assert as_status(record_in({"model": model})) is None
