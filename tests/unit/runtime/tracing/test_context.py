"""W3C trace context."""

import pytest
from slipway_runtime.tracing.context import is_within, trace_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_a_clients_trace_continues() -> None:
    trace = trace_of(f"00-{TRACE}-{SPAN}-01")
    assert (trace.trace_id, trace.parent_id, trace.sampled) == (TRACE, SPAN, True)
    assert trace.span_id not in ("", SPAN)


def test_the_client_decides_whether_its_trace_is_sampled() -> None:
    assert not trace_of(f"00-{TRACE}-{SPAN}-00").sampled


def test_the_next_service_gets_our_span_as_parent() -> None:
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
def test_without_a_valid_trace_context_a_trace_starts(traceparent: str | None) -> None:
    trace = trace_of(traceparent)
    assert (len(trace.trace_id), len(trace.span_id), trace.parent_id, trace.sampled) == (32, 16, "", False)
    assert trace.trace_id != TRACE


def test_of_traces_that_start_here_the_configured_share_is_sampled() -> None:
    assert trace_of(None, share=1.0).sampled
    assert not trace_of(None, share=0.0).sampled


def test_the_share_is_ignored_where_the_client_has_decided() -> None:
    assert not trace_of(f"00-{TRACE}-{SPAN}-00", share=1.0).sampled
    assert trace_of(f"00-{TRACE}-{SPAN}-01", share=0.0).sampled


@pytest.mark.parametrize(("lower_half", "sampled"), [("3fffffffffffffff", True), ("4000000000000000", False)])
def test_the_lower_half_of_a_trace_id_decides_whether_it_is_in_the_share(lower_half: str, sampled: bool) -> None:
    assert is_within("f" * 16 + lower_half, 0.25) is sampled
