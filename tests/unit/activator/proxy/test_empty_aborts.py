"""The start of a response shows whether it is one: an engine's empty abort is not."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slipway.activator.proxy.empty_aborts import LONGEST, MOST_EVENTS, MOST_VALUES, AbortDetector

STREAM, WHOLE = b"text/event-stream; charset=utf-8", b"application/json"


def chat(content: str | None, finish: str | None, **more: Any) -> dict[str, Any]:
    return {
        "choices": [{"index": 0, "delta": {"role": "assistant", "content": content, **more}, "finish_reason": finish}]
    }


def events(*payloads: Any) -> bytes:
    return b"".join(b"data: %b\n\n" % json.dumps(each).encode() for each in payloads)


def add(beginning: AbortDetector, data: bytes) -> None:
    if beginning.add(data):
        for _ in beginning.rest():
            pass


def is_empty_abort(content_type: bytes, data: bytes) -> bool:
    beginning = AbortDetector(content_type)
    add(beginning, data)
    beginning.end()
    assert beginning.is_decided
    return beginning.is_abort


ABORTS = {
    "a stream that aborts at once": (STREAM, events(chat("", "abort"))),
    "a stream with a role and then an abort": (STREAM, events(chat("", None), chat("", "abort"))),
    "with comments between": (STREAM, b": hello\n\n" + events(chat(None, "abort"))),
    "with other line ends": (STREAM, events(chat("", "abort")).replace(b"\n", b"\r\n")),
    "a completion": (WHOLE, json.dumps({"choices": [{"text": "", "finish_reason": "abort"}]}).encode()),
    "a chat completion": (
        WHOLE,
        json.dumps({"choices": [{"message": {"role": "assistant", "content": ""}, "finish_reason": "abort"}]}).encode(),
    ),
    "two choices": (WHOLE, json.dumps({"choices": [{"text": "", "finish_reason": "abort"}] * 2}).encode()),
}
NOT_ABORTS = {
    "a word": (STREAM, events(chat("a", None))),
    "a word and then an abort": (STREAM, events(chat("a", None), chat("", "abort"))),
    "a word with the abort": (STREAM, events(chat("a", "abort"))),
    "an empty stop": (STREAM, events(chat("", "stop"))),
    "thoughts": (STREAM, events(chat(None, None, reasoning_content="hm"), chat("", "abort"))),
    "a tool's name": (STREAM, events(chat(None, None, tool_calls=[{"id": "1"}]), chat("", "abort"))),
    "an error": (STREAM, events({"error": {"message": "no"}})),
    "no choices": (STREAM, events({"choices": []})),
    "only the end event": (STREAM, b"data: [DONE]\n\n"),
    "nothing": (STREAM, b""),
    "another stream": (STREAM, b"event: ping\n\n"),
    "a text": (WHOLE, json.dumps({"choices": [{"text": "a", "finish_reason": "abort"}]}).encode()),
    "one of two choices": (
        WHOLE,
        json.dumps(
            {"choices": [{"text": "", "finish_reason": "abort"}, {"text": "a", "finish_reason": "stop"}]}
        ).encode(),
    ),
    "embeddings": (WHOLE, b'{"data": [{"embedding": [0.1]}]}'),
    "not JSON": (WHOLE, b"{"),
    "a list": (WHOLE, b"[]"),
    "JSON without end": (WHOLE, b"[" * 50_000),
    "plain text": (b"text/plain", b"abort"),
}


@pytest.mark.parametrize(("content_type", "data"), ABORTS.values(), ids=ABORTS.keys())
def test_an_abort_without_text_is_not_a_response(content_type: bytes, data: bytes) -> None:
    assert is_empty_abort(content_type, data)


@pytest.mark.parametrize(("content_type", "data"), NOT_ABORTS.values(), ids=NOT_ABORTS.keys())
def test_any_other_response_is_one(content_type: bytes, data: bytes) -> None:
    assert not is_empty_abort(content_type, data)


def test_a_stream_is_released_with_its_first_text() -> None:
    beginning = AbortDetector(STREAM)
    add(beginning, events(chat("", None)))
    assert not beginning.is_decided
    add(beginning, events(chat("a", None)))
    assert beginning.is_decided


def test_a_response_that_is_neither_stream_nor_json_is_not_held_back() -> None:
    assert AbortDetector(b"audio/wav").is_decided


def test_a_long_response_is_not_held_back() -> None:
    beginning = AbortDetector(WHOLE)
    add(beginning, b" " * (LONGEST + 1))
    assert beginning.is_decided


def test_a_response_with_very_many_values_is_not_held_back() -> None:
    assert not is_empty_abort(WHOLE, b'{"choices": [' + b'{"finish_reason": "abort"},' * MOST_VALUES + b"]}")
    beginning = AbortDetector(STREAM)
    add(beginning, b": \n\n" * (MOST_EVENTS + 1))
    assert beginning.is_decided


@given(st.sampled_from([*ABORTS.values(), *NOT_ABORTS.values()]), st.lists(st.integers(1, 40), min_size=1))
def test_the_pieces_in_which_it_arrives_make_no_difference(response: tuple[bytes, bytes], sizes: list[int]) -> None:
    content_type, data = response
    beginning, offset, index = AbortDetector(content_type), 0, 0
    while offset < len(data) and not beginning.is_decided and index < 2000:
        size = sizes[index % len(sizes)] if index < 1999 else len(data)
        add(beginning, data[offset : offset + size])
        offset, index = offset + size, index + 1
    beginning.end()
    assert beginning.is_abort == is_empty_abort(content_type, data)


@pytest.mark.parametrize(
    ("event", "number"), [(b": \n\n", MOST_EVENTS), (b'data: {"choices":[%b{}]}\n\n' % (b"{}," * 400), 40)]
)
def test_other_requests_are_served_while_many_events_are_parsed(event: bytes, number: int) -> None:
    beginning = AbortDetector(STREAM)
    assert beginning.add(event * number)
    assert sum(1 for _ in beginning.rest()) >= 10
    assert not beginning.is_decided
