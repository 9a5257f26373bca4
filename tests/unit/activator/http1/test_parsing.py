"""Parsing HTTP/1.1: what is accepted, and that the result is the same in whatever pieces it arrives."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slipway.activator.http1.framing import LONGEST_HEAD, MOST_SEGMENTS, HttpEvent, MessageEnd
from slipway.activator.http1.heads import (
    Headers,
    MalformedMessageError,
    RequestHead,
    ResponseHead,
    end_to_end,
    trailers,
)
from slipway.activator.http1.parsing import RequestParser, ResponseParser

REQUESTS = (
    b"POST /v1/completions HTTP/1.1\r\nHost: llama\r\nContent-Length: 5\r\n\r\nhello"
    b"GET /metrics?x=y HTTP/1.1\r\nHost: llama\r\nConnection: close\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n"
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc"
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://b:81?x HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * (LONGEST_HEAD + 10) + b"\r\n\r\n",
    b"nonsense\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65536\r\n\r\n"
    + b"x" * 65536
    + b"\r\n" * 3
    + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"x" * (LONGEST_HEAD + 10),
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;" + b"x" * (LONGEST_HEAD + 10),
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\nabcd\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX Y: " + b"x" * (LONGEST_HEAD + 10),
    b"GET / RTSP/1.0\r\nHost: a\r\n\r\n",
    b"\r\n" * 200,
)
RESPONSES = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 5\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Made\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
    b"nonsense",
)


def joined(events: list[HttpEvent]) -> list[HttpEvent]:
    """With adjacent pieces of a body joined."""
    whole: list[HttpEvent] = []
    for event in events:
        if isinstance(event, bytes) and whole and isinstance(whole[-1], bytes):
            whole[-1] += event
        else:
            whole.append(event)
    return whole


def comparable(events: list[HttpEvent]) -> list[object]:
    return [event.status if isinstance(event, MalformedMessageError) else event for event in joined(events)]


def in_pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    positions = sorted({cut % (len(data) + 1) for cut in cuts})
    return [
        data[start:end] for start, end in zip([0, *positions], [*positions, len(data)], strict=True) if data[start:end]
    ]


def read_requests(pieces: list[bytes]) -> list[object]:
    parser = RequestParser()
    return comparable([event for piece in pieces for event in parser.feed(piece)])


def read_response(pieces: list[bytes]) -> list[object]:
    parser = ResponseParser()
    parser.expect(b"POST")
    return comparable([event for piece in pieces for event in parser.feed(piece)])


def head_of(size: int) -> bytes:
    begin, end = b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"\r\n\r\n"
    return begin + b"x" * (size - len(begin) - len(end)) + end


CHUNKS = st.lists(st.binary(min_size=1, max_size=300), max_size=8)


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, list[object]]:
    """A valid request, and what a parser has to read from it."""
    body = draw(CHUNKS)
    begin = b"\r\n" * draw(st.integers(0, 2)) + b"POST / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * draw(st.integers(0, 3000))
    whole = b"".join(body)
    pieces: list[object] = [whole] if whole else []
    if draw(st.booleans()):
        return begin + b"\r\nContent-Length: %d\r\n\r\n" % len(whole) + whole, [len(whole), *pieces, MessageEnd([])]
    encoded = b"".join(b"%x%b\r\n%b\r\n" % (len(each), draw(st.sampled_from([b"", b";x=y"])), each) for each in body)
    trailer = draw(st.booleans())
    encoded += b"0\r\n" + (b"X-Sum: 5\r\n" if trailer else b"") + b"\r\n"
    return (
        begin + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + encoded,
        [None, *pieces, MessageEnd([(b"x-sum", b"5")] if trailer else [])],
    )


CUTS = st.lists(st.integers(0, 100_000), max_size=12)


@given(st.sampled_from(REQUESTS), CUTS)
def test_requests_are_read_the_same_in_whatever_pieces_they_arrive(data: bytes, cuts: list[int]) -> None:
    assert read_requests(in_pieces(data, cuts)) == read_requests([data])


@given(st.sampled_from(RESPONSES), CUTS)
def test_responses_are_read_the_same_in_whatever_pieces_they_arrive(data: bytes, cuts: list[int]) -> None:
    assert read_response(in_pieces(data, cuts)) == read_response([data])


@given(st.binary(max_size=300), CUTS)
def test_malformed_input_is_refused_and_raises_no_other_error(data: bytes, cuts: list[int]) -> None:
    events = read_requests(in_pieces(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" + data, cuts))
    assert isinstance(events[0], RequestHead)
    assert events[1:3] == [b"abc", MessageEnd([])]


@given(st.lists(requests(), min_size=1, max_size=6), CUTS)
def test_a_stream_of_requests_is_read_as_it_was_written(
    messages: list[tuple[bytes, list[object]]], cuts: list[int]
) -> None:
    events = read_requests(in_pieces(b"".join(raw for raw, _ in messages), cuts))
    seen = [event.length if isinstance(event, RequestHead) else event for event in events]
    assert seen == [event for _, expected in messages for event in expected]


@given(st.lists(requests(), min_size=2, max_size=4), CUTS)
def test_nothing_is_parsed_beyond_the_end_of_a_message(
    messages: list[tuple[bytes, list[object]]], cuts: list[int]
) -> None:
    parser = RequestParser()
    for piece in in_pieces(b"".join(raw for raw, _ in messages), cuts):
        parser.take(piece)
        while parser.unparsed:
            events = parser.events()
            assert all(not isinstance(event, MessageEnd) for event in events[:-1])


@pytest.mark.parametrize("step", [1, 1000, 10 * LONGEST_HEAD])
@pytest.mark.parametrize(("size", "is_taken"), [(LONGEST_HEAD, True), (LONGEST_HEAD + 1, False)])
def test_the_length_of_a_head_does_not_depend_on_its_pieces(step: int, size: int, is_taken: bool) -> None:
    before = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70_000
    data = before + head_of(size)
    events = read_requests([data[at : at + step] for at in range(0, len(data), step)])
    assert isinstance(events[3], RequestHead) == is_taken


def test_little_is_parsed_in_one_step() -> None:
    parser = RequestParser()
    parser.take(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 10_000)
    assert sum(len(event) for event in parser.events() if isinstance(event, bytes)) <= MOST_SEGMENTS


def test_a_body_arrives_as_it_was_sent() -> None:
    head, body, end, second, *_ = read_requests([REQUESTS[0]])
    assert isinstance(head, RequestHead)
    assert isinstance(second, RequestHead)
    assert (head.method, head.target, head.length, body, end) == (
        b"POST",
        b"/v1/completions",
        5,
        b"hello",
        MessageEnd([]),
    )
    assert (head.keep_alive, second.keep_alive) == (True, False)


def test_trailers_arrive_with_the_end() -> None:
    assert read_requests([REQUESTS[1]])[2] == MessageEnd([(b"x-sum", b"5")])


def test_a_response_without_a_length_ends_with_the_connection() -> None:
    parser = ResponseParser()
    parser.expect(b"GET")
    head, body = parser.feed(b"HTTP/1.1 200 OK\r\n\r\nabc")
    assert isinstance(head, ResponseHead)
    assert (head.keep_alive, body, parser.eof()) == (False, b"abc", [MessageEnd([])])


def test_a_response_of_known_length_does_not_end_with_the_connection() -> None:
    parser = ResponseParser()
    parser.expect(b"GET")
    parser.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
    assert parser.eof() == []


HEADERS: Headers = [
    (b"host", b"a"),
    (b"connection", b"close, X-Mine , host"),
    (b"x-mine", b"1"),
    (b"x-yours", b"2"),
    (b"te", b"trailers"),
    (b"transfer-encoding", b"chunked"),
    (b"content-length", b"3"),
]


def test_only_end_to_end_headers_are_forwarded() -> None:
    assert end_to_end(HEADERS) == [(b"host", b"a"), (b"x-yours", b"2")]


@pytest.mark.parametrize("name", [b"content-length", b"transfer-encoding", b"authorization", b"content-type", b"host"])
def test_no_trailer_changes_how_a_message_is_read(name: bytes) -> None:
    assert trailers([(name, b"1"), (b"x-sum", b"5")]) == [(b"x-sum", b"5")]
