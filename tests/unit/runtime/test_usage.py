"""What /info reports as usage."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from slipway_runtime.contract.engines import VLLM
from slipway_runtime.control import Counts
from slipway_runtime.engines.engine import Work, work_of
from slipway_runtime.supervisor.phases import Moment
from slipway_runtime.supervisor.usage import FIELDS, ready_seconds, usage_of

COUNTS = Counts(busy=1.23456, ended=5, failed=1)
SCRAPED = """vllm:prompt_tokens_total{engine="0"} 40.0
vllm:generation_tokens_total{engine="0"} 70.0
vllm:num_preemptions_total{engine="0"} 2.0
vllm:spec_decode_num_drafts_total{engine="0"} 10.0
vllm:spec_decode_num_draft_tokens_total{engine="0"} 40.0
vllm:spec_decode_num_accepted_tokens_total{engine="0"} 25.0
"""
COUNTED = {
    "busySeconds": 1.235,
    "readySeconds": 9.5,
    "requests": 5,
    "failedRequests": 1,
    "promptTokens": 0,
    "outputTokens": 0,
}


def reached(*moments: tuple[str, float]) -> list[Moment]:
    return [Moment(name, seconds, datetime(2026, 11, 30, tzinfo=UTC)) for name, seconds in moments]


def test_usage_has_the_guards_counts_and_what_the_engine_counts_itself() -> None:
    found = usage_of(COUNTS, ready=9.5, scraped=SCRAPED, work=work_of(VLLM.metrics))
    speculative = {"drafts": 10, "draftTokens": 40, "acceptedTokens": 25}
    tokens = {"promptTokens": 40, "outputTokens": 70}
    assert found == {**COUNTED, **tokens, "preemptions": 2, "speculative": speculative}
    assert found.keys() == FIELDS.keys()


@pytest.mark.parametrize("scraped", [None, "", "vllm:num_preemptions_total NaN\n", "vllm:num_preemptions_total x\n"])
def test_what_the_engine_does_not_count_is_absent(scraped: str | None) -> None:
    assert usage_of(COUNTS, ready=9.5, scraped=scraped, work=work_of(VLLM.metrics)) == COUNTED


def test_without_a_draft_there_is_no_speculative_decoding() -> None:
    found = usage_of(COUNTS, ready=9.5, scraped=SCRAPED.replace(" 10.0", " 0.0"), work=work_of(VLLM.metrics))
    assert "speculative" not in found
    assert found["outputTokens"] == 70


def test_an_engine_without_such_metrics_has_none() -> None:
    assert usage_of(COUNTS, ready=9.5, scraped=SCRAPED, work=Work(pending=(), progress=())) == COUNTED


@pytest.mark.parametrize(
    ("moments", "seconds"),
    [
        pytest.param([("started", 0), ("answers", 5)], 0, id="not ready yet"),
        pytest.param([("started", 0), ("ready", 5)], 95, id="ready"),
        pytest.param([("ready", 5), ("cache published", 7)], 95, id="ready, and something else happened"),
        pytest.param([("ready", 5), ("leaving", 25), ("draining", 30), ("stopping", 40)], 20, id="leaving"),
        pytest.param([("ready", 5), ("stopping", 45), ("ended", 46)], 40, id="stuck"),
        pytest.param([("started", 0), ("stopping", 45), ("ended", 46)], 0, id="never ready"),
    ],
)
def test_ready_seconds_are_from_ready_until_the_pod_stops(moments: list[tuple[str, float]], seconds: float) -> None:
    assert ready_seconds(reached(*moments), 100) == seconds
