"""Of what a pod reports, only numbers that could be true count."""

from __future__ import annotations

import json
from typing import Any

import pytest
from slipway.contract.buckets import OF_TIMES, Boundaries
from slipway.observing.ledger import Use
from slipway.observing.speculation import Drafts
from slipway.observing.usage import Report, Usage, report_in

HONEST = {"busySeconds": 12.5, "readySeconds": 60.0, "requests": 3, "promptTokens": 100, "outputTokens": 40}
SPECULATIVE = {"drafts": 10, "draftTokens": 40, "acceptedTokens": 30}


def usage_in(info: bytes) -> Usage | None:
    report = report_in(info)
    assert report
    return report.usage


def boundaries_in(given: Any) -> Boundaries:
    report = report_in(json.dumps({"boundaries": given}).encode())
    assert report
    return report.boundaries


def info(**usage: Any) -> bytes:
    return json.dumps({"usage": {**HONEST, **usage}}).encode()


def test_an_honest_report_is_read() -> None:
    assert usage_in(info()) == Usage(Use(12.5, 100, 40), None)
    assert usage_in(info(speculative=SPECULATIVE)) == Usage(Use(12.5, 100, 40), Drafts(10, 40, 30))


@pytest.mark.parametrize("answer", [b"", b"{", b"[]", b"null", b"[" * 100_000, b"\xff\xfe"])
def test_whatever_else_is_sent_counts_as_no_report(answer: bytes) -> None:
    assert report_in(answer) is None


@pytest.mark.parametrize("answer", [b"{}", b'{"usage": 3}', b'{"usage": {}}'])
def test_an_older_runtime_reports_neither_use_nor_boundaries(answer: bytes) -> None:
    assert report_in(answer) == Report(None, {})


def test_boundaries_of_this_version_are_one_object_for_all_pods() -> None:
    assert boundaries_in(OF_TIMES) is OF_TIMES


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"ttft": [0.1, 1]}, {"ttft": (0.1, 1.0)}),
        ({"ttft": [0.1, "1", None, True, -1, 1e300, [1]]}, {"ttft": (0.1,)}),
        ({"ttft": list(range(1, 1000))}, {"ttft": tuple(map(float, range(1, 65)))}),
        ({"ttft": 3, "other": [1.0]}, {}),
        ([0.1], {}),
    ],
)
def test_of_forged_boundaries_only_numbers_count_and_few_of_them(given: Any, expected: Boundaries) -> None:
    assert boundaries_in(given) == expected


@pytest.mark.parametrize("forged", [-1, True, "12", None, [], {}, float("nan"), float("inf"), -float("inf")])
def test_a_forged_number_counts_as_zero(forged: Any) -> None:
    found = usage_in(info(busySeconds=forged, promptTokens=forged, outputTokens=forged))
    assert found == Usage(Use(0.0, 0, 0), None)


def test_a_huge_number_is_cut() -> None:
    found = usage_in(b'{"usage": {"busySeconds": 1' + b"0" * 400 + b', "promptTokens": 1' + b"0" * 400 + b"}}")
    assert found == Usage(Use(1e10, 1 << 53, 0), None)


@pytest.mark.parametrize(
    "forged", [3, {"drafts": 50, "draftTokens": 40}, {"drafts": 1, "draftTokens": 4, "acceptedTokens": 5}]
)
def test_drafts_that_can_not_be_true_count_as_none(forged: Any) -> None:
    found = usage_in(info(speculative=forged))
    assert found
    assert found.drafts is None
