"""`status.plan`: what is reported of a plan, and the events about it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from slipway.api.schema import LONGEST_LINE, MOST_LINES
from slipway.api.status import LLMDeploymentStatus, PlanStatus
from slipway.models.facts import Evidence
from slipway.objects.kinds import Object
from slipway.observing.events import Notice, events_between
from slipway.observing.plan_report import lines, reported
from slipway.operator.planning import Plan
from support.builders.plans import KNOWN, MEMORY, SPEED, plan

from .test_status import ZERO, NoPlan, status

IN_FULL = {
    "accelerator": "h200-141gb",
    "gpusPerReplica": 1,
    "tensor": 1,
    "pipeline": 1,
    "memory": {
        "total": "139.80Gi",
        "budget": "128.62Gi",
        "weights": "15.00Gi",
        "kvCache": "112.28Gi",
        "overhead": "1.33Gi",
        "outside": "2.10Gi",
        "evidence": {
            "total": "reported",
            "budget": "exact",
            "weights": "exact",
            "kvCache": "estimated",
            "overhead": "estimated",
            "outside": "estimated",
        },
    },
    "kvTokens": 919_824,
    "maxConcurrency": 64,
    "concurrencyAtFullLength": 112,
    "contextLength": 8192,
    "startLimit": "20m6s",
    "expected": {
        "timePerToken": "4.52ms",
        "timePerTokenAtMaxConcurrency": "21.3ms",
        "timeToFirstToken": "46.2ms",
        "tokensPerSecond": 3000,
        "costPerMillionTokens": 0.462,
        "formula": SPEED.formula,
    },
    "why": list(KNOWN.why),
    "rejected": list(KNOWN.rejected),
    "warnings": list(KNOWN.warnings),
}


def test_everything_that_is_planned_is_reported() -> None:
    assert reported(KNOWN) == IN_FULL


def test_what_is_not_known_is_left_out() -> None:
    """Null is not a valid value of a field: the API server would refuse the entire status."""
    assert reported(plan(profile="", gpus_per_replica=0, max_concurrency=None)) == {
        "gpusPerReplica": 0,
        "why": ["the only one that fits"],
        "rejected": [],
        "warnings": [],
    }


INFINITE = replace(
    SPEED,
    time_per_token=float("inf"),
    tokens_per_second=float("nan"),
    cost_per_million_tokens=float("inf"),
    prefill_tokens_per_second=1e-300,
)
ODD = {
    "small": plan(),
    "known": KNOWN,
    "infinite": replace(KNOWN, speed=INFINITE, concurrent_at_full_length=float("nan")),
    "slow": replace(KNOWN, speed=replace(SPEED, time_per_token=1e9, prefill_tokens_per_second=1e-3), start_limit=1e7),
    "fast": replace(KNOWN, speed=replace(SPEED, time_per_token=1e-9), start_limit=0.2),
    "nothing left": replace(KNOWN, memory=replace(MEMORY, kv_cache=0, graphs=0, evidence={}), kv_tokens=0),
    "many": plan(max_concurrency=100_000),
    "long": plan(why=("x" * 5000,) * 200, rejected=("y",) * 65, warnings=("z",) * 64),
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
def test_every_plan_is_valid_in_the_api(odd: Plan) -> None:
    LLMDeploymentStatus.model_validate(status(ZERO, plan=odd))
    assert "NaN" not in PlanStatus.model_validate(reported(odd)).model_dump_json()


def test_an_infinite_number_is_left_out() -> None:
    expected = reported(ODD["infinite"])["expected"]
    assert set(expected) == {"timePerTokenAtMaxConcurrency", "formula"}
    assert "concurrencyAtFullLength" not in reported(ODD["infinite"])


def test_a_sum_is_known_no_better_than_its_worst_part() -> None:
    measured = dict.fromkeys(("activation", "other", "graphs"), Evidence.MEASURED)
    memory = replace(MEMORY, evidence=measured | {"other": Evidence.REPORTED})
    assert reported(replace(KNOWN, memory=memory))["memory"]["evidence"] == {"overhead": "reported"}


def test_sentences_are_cut_to_what_the_api_server_admits() -> None:
    found = lines(["x" * 5000] * 200)
    assert (len(found), len(found[0])) == (MOST_LINES, LONGEST_LINE)
    assert found[-1] == "… and 137 more."
    assert lines(["y"] * MOST_LINES) == ["y"] * MOST_LINES


# --- without a plan ---------------------------------------------------------------------------------------------------


def test_without_a_plan_the_status_still_has_a_line_for_each_profile() -> None:
    rejected = ("l4: needs 3.1 GiB more.", "t4: needs 11.1 GiB more.")
    found = status(ZERO, plan=NoPlan(rejected=rejected))
    assert found["plan"] == {"rejected": list(rejected)}
    LLMDeploymentStatus.model_validate(found)


def test_without_a_plan_and_without_profiles_there_is_no_plan_in_the_status() -> None:
    assert "plan" not in status(ZERO, plan=NoPlan())


# --- events about it --------------------------------------------------------------------------------------------------

SLOW, TIGHT = "scaling.target.tpotP95: 21.3ms are expected.", "engine.contextLength: a request takes all memory."
WARNINGS: list[tuple[tuple[str, ...] | None, tuple[str, ...], list[str]]] = [
    (None, (SLOW,), [SLOW]),
    ((), (SLOW, TIGHT), [f"{SLOW} {TIGHT}"]),
    ((SLOW,), (SLOW,), []),
    ((SLOW,), (TIGHT, SLOW), [TIGHT]),
    ((SLOW, TIGHT), (SLOW,), []),
    ((SLOW,), (), []),
]


@pytest.mark.parametrize(("before", "now", "messages"), WARNINGS)
def test_a_new_warning_of_the_plan_is_an_event_once(
    before: tuple[str, ...] | None, now: tuple[str, ...], messages: list[str]
) -> None:
    previous: Object | None = None if before is None else status(ZERO, plan=plan(warnings=before))
    found = events_between(previous, status(ZERO, previous, plan=plan(warnings=now)))
    assert [each for each in found if each.type == "Warning"] == [
        Notice("Warning", "PlanWarning", each) for each in messages
    ]
