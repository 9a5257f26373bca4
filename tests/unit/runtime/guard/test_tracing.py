"""Request ids and W3C trace context."""

import pytest
from slipway_runtime.guard.tracing import request_id_of, trace_of

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


@pytest.mark.parametrize("given", ["req-1", "a/b:c=d+e@f.g_h", "x" * 128])
def test_a_clients_request_id_is_kept(given: str) -> None:
    assert request_id_of(given) == given


@pytest.mark.parametrize("given", [None, "", "x" * 129, "with space", "line\nbreak", 'quote"', "ü"])
def test_one_that_could_do_harm_is_replaced(given: str | None) -> None:
    made = request_id_of(given)
    assert made != given
    assert len(made) == 32
