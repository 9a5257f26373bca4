"""From a pod that is ready to `status.measured`: which pod is read, what counts, and how it compares with the plan."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from slipway.api.names import PLAN_ANNOTATION
from slipway.api.reasons import Reason
from slipway.api.status import MeasuredStatus
from slipway.contract import pod as contract
from slipway.objects.kinds import Object
from slipway.observing.events import events_between
from slipway.observing.keeping import pod_shown
from slipway.observing.measured import (
    Load,
    Measurement,
    Reading,
    measured_status,
    newest_load,
    parsers_of,
    quantity,
    reading_of,
    size_in,
)
from support.builders import observed as objects
from support.builders.observed import container, snapshot

GIB = 1 << 30
KEY = "0123456789abcdef"
LATER = "2026-11-21T10:00:50Z"


def pod(name: str = "model-1", *, started: str = objects.STARTED, ready: bool = True, **status: Any) -> Object:
    running = container(ready=ready, state={"running": {"startedAt": started}})
    found = objects.pod(name, ready=ready, podIP="10.0.0.7", containerStatuses=[running], **status)
    found["metadata"]["annotations"] = {PLAN_ANNOTATION: KEY}
    return found


def load(name: str = "model-1", started: str = objects.STARTED) -> Load:
    return Load(name, name, started, "10.0.0.7", KEY)


# --- which pod is read ------------------------------------------------------------------------------------------------


def test_a_pod_is_read_once_it_is_ready() -> None:
    assert newest_load(snapshot(pod(ready=False))) is None
    assert newest_load(snapshot(pod())) == load()


def test_a_pod_is_still_read_of_which_only_a_part_is_stored() -> None:
    assert newest_load(snapshot(pod_shown(pod()))) == load()


def test_of_several_the_last_one_that_started_is_read() -> None:
    assert newest_load(snapshot(pod("a", started=LATER), pod("b"))) == load("a", LATER)


@pytest.mark.parametrize("started", [objects.STARTED, LATER])
def test_nothing_is_read_again_that_the_status_has_or_that_is_older(started: str) -> None:
    status = {"measured": {"pod": "gone", "startedAt": started}}
    assert newest_load(snapshot(pod(), llm_deployment={"status": status})) is None


def test_a_restarted_engine_is_read_again() -> None:
    status = {"measured": {"pod": "model-1", "startedAt": objects.STARTED}}
    assert newest_load(snapshot(pod(started=LATER), llm_deployment={"status": status})) == load(started=LATER)


@pytest.mark.parametrize("nonsense", ["2999-01-01T00:00:00Z", "yesterday", "", None, 7, {}])
def test_a_time_that_the_operator_cannot_have_written_does_not_count(nonsense: object) -> None:
    status = {"measured": {"startedAt": nonsense}}
    assert newest_load(snapshot(pod(), llm_deployment={"status": status})) == load()


OF_NO_POD = """
localhost 127.0.0.1 ::1 169.254.169.254 fe80::1 fe80::1%eth0 :: 224.0.0.1 10.0.0.7:80
::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:168.63.129.16 ::ffff:0.0.0.0
fd00:ec2::254 fd00:ec2::254%eth0 fd20:ce::254 100.100.100.200 168.63.129.16
"""


@pytest.mark.parametrize("address", ["", "a" * 99, *OF_NO_POD.split()])
def test_only_the_address_of_a_pod_is_read(address: str) -> None:
    found = pod()
    found["status"]["podIP"] = address
    assert newest_load(snapshot(found)) is None


def test_a_pod_with_the_address_of_its_node_is_not_read() -> None:
    found = pod()
    found["spec"]["hostNetwork"] = True
    assert newest_load(snapshot(found)) is None
    assert newest_load(snapshot(pod_shown(found))) is None


@pytest.mark.parametrize("key", ["", "x" * 16, "0123456789ABCDEF", f"{KEY}\n", KEY * 2])
def test_a_pod_without_a_key_of_a_plan_is_not_read(key: str) -> None:
    found = pod()
    found["metadata"]["annotations"] = {PLAN_ANNOTATION: key}
    assert newest_load(snapshot(found)) is None


@pytest.mark.parametrize(
    "statuses",
    [[], None, [container(ready=True, state={})], [container(ready=True, state={"running": {"startedAt": "soon"}})]],
    ids=["none", "null", "not running", "no time"],
)
def test_a_pod_whose_engine_has_no_start_is_not_read(statuses: list[Object] | None) -> None:
    found = pod()
    found["status"]["containerStatuses"] = statuses
    assert newest_load(snapshot(found)) is None


# --- what counts ------------------------------------------------------------------------------------------------------


def info(**measured: Any) -> bytes:
    return json.dumps({"state": "Ready", contract.MEASURED: measured}).encode()


def test_the_numbers_of_a_runtime_are_read() -> None:
    devices = [{"name": "GPU", "total": 80 * GIB, "used": used * GIB} for used in (70, 72, 71)]
    said = info(kvTokens=1000, weights=16 * GIB, kvCache=50 * GIB, activation=GIB, graphs=2 * GIB, devices=devices)
    assert reading_of(said) == Reading(
        kv_tokens=1000,
        weights=16 * GIB,
        kv_cache=50 * GIB,
        activation=GIB,
        graphs=2 * GIB,
        used=72 * GIB,
        total=80 * GIB,
    )


def test_what_it_does_not_report_is_unknown() -> None:
    assert reading_of(info(devices=[])) == Reading()


NONSENSE = [0, -1, 1.5, 1e300, True, "7", None, [], {}, 10**18, float("nan"), float("inf")]


@pytest.mark.parametrize("value", NONSENSE, ids=repr)
def test_a_number_that_cannot_be_true_is_unknown(value: object) -> None:
    devices = [{"total": value, "used": 5}, {"total": 5, "used": value}, {"total": 5, "used": 6}, value]
    assert reading_of(info(kvTokens=value, weights=value, devices=devices)) == Reading()
    assert reading_of(info(devices=value)) == Reading()


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b"\xff\xfe",
        b'{"measured": null}',
        b'{"measured": []}',
        b"[" * 200_000,
        b'{"measured":' * 20_000,
        b'{"measured": {"kvTokens": ' + b"9" * 100_000 + b"}}",
    ],
    ids=lambda said: repr(said[:20]),
)
def test_anything_else_is_no_reading(said: bytes) -> None:
    assert reading_of(said) is None


# --- how it compares --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Memory:
    weights: int = 15 * GIB
    kv_cache: int = 110 * GIB
    overhead: int = GIB
    budget: int = 126 * GIB
    outside: int = 3 * GIB


@dataclass(frozen=True)
class Plan:
    vendor: str = "NVIDIA"
    memory: Memory | None = Memory()
    kv_tokens: int | None = 900_000
    sized_by: int | None = 110 * GIB


AS_PLANNED = Reading(kv_tokens=900_000, weights=15 * GIB, kv_cache=110 * GIB, used=129 * GIB, total=139 * GIB)


def measured(reading: Reading = AS_PLANNED, plan: Plan | None = Plan()) -> Object:
    return measured_status(Measurement(load(), reading), plan, f"{KEY}-{KEY}")


def test_a_plan_that_was_right_has_no_error() -> None:
    found = measured()
    assert found == {
        "kvTokens": 900_000,
        "kvCache": "110.000Gi",
        "weights": "15.000Gi",
        "memoryInUse": "129.000Gi",
        "memoryTotal": "139.000Gi",
        "outsideBudget": "3.000Gi",
        "planned": {"kvTokens": 900_000, "weights": "15.000Gi", "memoryInUse": "129.000Gi", "kvCache": "110.000Gi"},
        "planErrorPercent": 0.0,
        "planErrorOf": "kvTokens",
        "pod": "model-1",
        "startedAt": objects.STARTED,
        "key": f"{KEY}-{KEY}",
    }
    assert MeasuredStatus.model_validate(found).model_dump(by_alias=True, exclude_none=True) == found


@pytest.mark.parametrize(
    ("reading", "error", "of"),
    [
        (Reading(kv_tokens=1_000_000, weights=15 * GIB), -10.0, "kvTokens"),
        (Reading(kv_tokens=900_000, weights=16 * GIB), -6.25, "weights"),
        (Reading(kv_tokens=890_000, weights=12 * GIB), 25.0, "weights"),
        (Reading(used=100 * GIB), 29.0, "memoryInUse"),
        (Reading(weights=15 * GIB + GIB // 200), 0.0, "weights"),
    ],
    ids=["more tokens", "more weights", "the larger error", "less in use", "rounded by the engine"],
)
def test_the_largest_error_counts_relative_to_what_was_measured(reading: Reading, error: float, of: str) -> None:
    found = measured(reading)
    assert (found["planErrorPercent"], found["planErrorOf"]) == (error, of)


@pytest.mark.parametrize("plan", [None, Plan(memory=None, kv_tokens=None)], ids=["another plan", "nothing planned"])
def test_without_numbers_of_its_plan_there_is_no_error(plan: Plan | None) -> None:
    found = measured(plan=plan)
    assert found["kvTokens"] == 900_000
    assert not found.keys() & {"planErrorPercent", "planErrorOf", "planned", "outsideBudget"}


def test_what_a_container_uses_is_not_compared() -> None:
    found = measured(Reading(kv_tokens=900_000, used=GIB, total=2 * GIB), Plan(vendor="CPU"))
    assert found["memoryInUse"] == "1.000Gi"
    assert (found["planErrorPercent"], found["planErrorOf"]) == (0.0, "kvTokens")
    assert "outsideBudget" not in found


def test_quantities_are_read_as_they_were_written() -> None:
    assert size_in(quantity(15 * GIB)) == 15 * GIB
    assert size_in(quantity(5)) is None  # too little to be written


@pytest.mark.parametrize("text", ["", "many", "-1Gi", "9e999Gi", "1" * 400, None, 7, [], "99999Ti"])
def test_a_quantity_that_cannot_be_true_is_unknown(text: object) -> None:
    assert size_in(text) is None


# --- what people see --------------------------------------------------------------------------------------------------


def status(found: Object | None) -> Object:
    return {"state": "Serving", "message": "1 replica answers.", **({"measured": found} if found else {})}


@pytest.mark.parametrize(("key", "kept"), [(f"{KEY}-{KEY}", "1.250Gi"), ("0" * 16, None)])
def test_a_step_that_was_measured_before_is_kept_for_the_same_model_device_engine_and_flags(
    key: str, kept: str | None
) -> None:
    """vLLM measures it only if no plan gives it the size of its cache."""
    before = {"measured": {"key": key, "activation": "1.250Gi", "weights": "9.000Gi"}}
    found = measured_status(Measurement(load(), Reading(kv_tokens=1, activation=None)), Plan(), f"{KEY}-{KEY}", before)
    assert (found.get("activation"), found.get("weights")) == (kept, None)
    newer = Reading(kv_tokens=1, activation=GIB)
    assert measured_status(Measurement(load(), newer), Plan(), key, before)["activation"] == "1.000Gi"


MISSED = measured(Reading(kv_tokens=900_000, weights=16 * GIB))


def test_an_error_of_more_than_five_percent_is_an_event_with_both_numbers() -> None:
    [notice] = events_between(status(None), status(MISSED))
    assert (notice.type, notice.reason) == ("Warning", Reason.PLAN_MISSED)
    assert notice.message == (
        "The plan has 15.000Gi of weights, and pod model-1 measured 16.000Gi (-6.2 %). The next plan for the same "
        "model, accelerator, engine and flags uses what was measured."
    )


def test_it_is_an_event_once_for_each_load() -> None:
    assert events_between(status(MISSED), status(MISSED)) == []
    assert len(events_between(status(MISSED), status({**MISSED, "startedAt": LATER}))) == 1


@pytest.mark.parametrize("tokens", [860_000, 945_000])
def test_a_smaller_error_is_none(tokens: int) -> None:
    found = measured(Reading(kv_tokens=tokens))
    assert 4 < abs(found["planErrorPercent"]) < 5
    assert events_between(status(None), status(found)) == []


@pytest.mark.parametrize(
    "nonsense", [{}, [], 7, {"planErrorPercent": "9"}, {"planErrorPercent": float("nan")}, {"planErrorPercent": 1e999}]
)
def test_a_status_that_others_wrote_makes_no_event_and_no_error(nonsense: object) -> None:
    assert events_between(status(None), {**status(None), "measured": nonsense}) == []


def test_an_event_about_a_status_that_others_wrote_has_what_it_has() -> None:
    [notice] = events_between(status(None), status({"planErrorPercent": 9.0, "planned": "x", "pod": "y"}))
    assert "pod y measured" in notice.message


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (
            {"toolCalls": {"parser": "hermes"}, "reasoning": {"parser": "qwen3"}},
            {"toolCalls": "hermes", "reasoning": "qwen3"},
        ),
        (
            {"toolCalls": {"parser": None, "reason": "no parser is known"}, "reasoning": {"parser": "qwen3"}},
            {"reasoning": "qwen3", "message": "toolCalls: no parser is known."},
        ),
        ({"toolCalls": {"parser": "a b", "reason": "two\nlines"}, "reasoning": 5}, None),
        ([], None),
        (None, None),
    ],
)
def test_the_parsers_that_a_pod_reports_are_bounded(said: Any, status: Any) -> None:
    assert parsers_of(json.dumps({"parsers": said}).encode()) == status
