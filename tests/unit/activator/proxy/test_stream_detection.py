"""Whether a body requests a stream is determined as JSON defines it, and in small steps."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slipway.activator.proxy.stream_detection import MOST_TOKENS, detect_stream, wants_stream

LARGE = 2 << 20


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"stream": true}', True),
        (b'{"stream":\n true, "prompt": "a"}', True),
        (b' \t{ "a" : 1 , "stream" \r\n: true }\n', True),
        (b'{"\\u0073tr\\u0065am": true}', True),
        (b'{"a\\\\": "\\\\", "stream": true}', True),
        (b'{"stream": false, "stream": true}', True),
        (b'{"stream": true, "stream": false}', False),
        (b'{"stream": true, "\\u0073tream": 1}', False),
        (b'{"stream": false}', False),
        (b'{"stream": "true"}', False),
        (b'{"stream": [true]}', False),
        (b'{"stream": truer}', False),
        (b'{"prompt": "\\"stream\\": true"}', False),
        (b'{"messages": [{"stream": true}]}', False),
        (b'{"a": "stream", "b": true}', False),
        (b'["stream", true]', False),
        (b'{"stream": true', False),
        (b'{"stream": true}}', False),
        (b'{"stream": true, "a": "\\', False),
        (b"[" * 100_000 + b'"stream": true', False),
        (b"", False),
    ],
)
def test_only_a_body_that_says_so_requests_a_stream(body: bytes, expected: bool) -> None:
    assert wants_stream(body) == expected


KEYS = st.sampled_from(["stream", "a", '"stream": true', "\\", ""])
VALUES = st.recursive(
    st.booleans() | st.none() | st.integers() | st.text(max_size=8) | KEYS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.tuples(KEYS, VALUES), max_size=4), st.booleans(), st.sampled_from([None, 1]))
def test_the_result_is_that_of_a_json_parser(
    members: list[tuple[str, Any]], ascii_alone: bool, indent: int | None
) -> None:
    encoded = ",".join(
        f"{json.dumps(key)}:{json.dumps(value, ensure_ascii=ascii_alone, indent=indent)}" for key, value in members
    )
    body = f"{{{encoded}}}".encode()
    assert wants_stream(body) == (json.loads(body).get("stream") is True)


@given(st.sampled_from([1, 7, 1000, 64 * 1024]), st.integers(0, 5), st.integers(0, 65535), st.booleans())
@settings(max_examples=30, deadline=None)
def test_the_result_is_the_same_in_whatever_pieces_a_body_arrives(
    size: int, count: int, space: int, expected: bool
) -> None:
    before = b"".join(b'"a":"%b",' % (b"x" * (70_000 if size > 100 else 100)) for _ in range(count))
    whitespace = b" " * space
    body = b'{%b"stream"%b:%btrue}%b%b' % (before, whitespace, whitespace, whitespace, b"" if expected else b"]")
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    assert outcome(detect_stream(pieces)) == wants_stream(body) == expected


def test_a_body_is_not_joined_in_memory() -> None:
    taken = 0

    def pieces() -> Iterator[bytes]:
        nonlocal taken
        for piece in [b'{"a":"', *[b"x" * 64 * 1024] * 128, b'","stream":true}']:
            taken += 1
            yield piece

    steps = detect_stream(pieces())
    next(steps)
    assert taken < 16
    assert outcome(steps)


def outcome(steps: Generator[None, None, bool]) -> bool:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return bool(end.value)


@pytest.mark.parametrize("piece", [b"a", b'\\"', b"\\\\", b"\\u1234"])
def test_a_long_text_before_it_hides_nothing(piece: bytes) -> None:
    assert wants_stream(b'{"prompt":"' + piece * (LARGE // len(piece)) + b'","stream":true}')


@pytest.mark.parametrize("piece", [b"1,", b" ", b'"a",', b'{"a":"b"},'])
def test_many_values_before_it_hide_nothing(piece: bytes) -> None:
    number = min(LARGE // len(piece), MOST_TOKENS // 5)
    assert wants_stream(b'{"a":[' + piece * number + b'1],"stream":true}')


@pytest.mark.parametrize("piece", [b"[],", b"{},", b'"",', b'{"stream":true},'])
def test_a_body_of_nothing_but_values_is_not_read_to_its_end(piece: bytes) -> None:
    assert not wants_stream(b'{"a":[' + piece * MOST_TOKENS + b'1],"stream":true}')


@pytest.mark.parametrize(
    ("begin", "piece"),
    [(b'{"a":[', b"[],"), (b'{"a":"', b"x"), (b'{"a":"', b'\\"'), (b"{", b" "), (b"{", b'"stream":true,')],
)
def test_others_are_served_while_a_large_body_is_read(begin: bytes, piece: bytes) -> None:
    assert sum(1 for _ in detect_stream([begin + piece * (LARGE // len(piece))])) >= 8
