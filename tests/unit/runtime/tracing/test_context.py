"""W3C trace context."""

import pytest
from slipway_runtime.tracing.context import is_within, trace_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_a_clients_trace_goes_on() -> None:
    trace = trace_of(f"00-{TRACE}-{SPAN}-01")
    assert (trace.trace_id, trace.parent_id, trace.sampled) == (TRACE, SPAN, True)
    assert trace.span_id not in ("", SPAN)


def test_the_client_decides_whether_its_trace_is_sampled() -> None:
    assert not trace_of(f"00-{TRACE}-{SPAN}-00").sampled


def test_the_next_on_the_way_is_told_of_our_span() -> None:
    trace = trace_of(f"00-{TRACE}-{SPAN}-01")
    assert trace.traceparent() == f"00-{TRACE}-{trace.span_id}-01"


def test_a_later_version_is_understood_as_far_as_we_know_it() -> None:
    assert trace_of(f"01-{TRACE}-{SPAN}-01-more").trace_id == TRACE


@pytest.mark.parametrize(
    "traceparent",
    [
        None,
        "",
        "garbage",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
    ],
)
def test_without_a_right_one_a_trace_begins(traceparent: str | None) -> None:
    trace = trace_of(traceparent)
    assert (len(trace.trace_id), len(trace.span_id), trace.parent_id, trace.sampled) == (32, 16, "", False)
    assert trace.trace_id != TRACE


def test_of_traces_that_begin_here_the_share_that_is_asked_for_is_sampled() -> None:
    assert trace_of(None, share=1.0).sampled
    assert not trace_of(None, share=0.0).sampled


def test_a_share_says_nothing_where_the_client_has_decided() -> None:
    assert not trace_of(f"00-{TRACE}-{SPAN}-00", share=1.0).sampled
    assert trace_of(f"00-{TRACE}-{SPAN}-01", share=0.0).sampled


@pytest.mark.parametrize(("lower_half", "sampled"), [("3fffffffffffffff", True), ("4000000000000000", False)])
def test_whether_a_trace_is_in_the_share_is_told_by_the_lower_half_of_its_id(lower_half: str, sampled: bool) -> None:
    assert is_within("f" * 16 + lower_half, 0.25) is sampled
